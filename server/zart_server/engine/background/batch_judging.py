"""Counts what ended badly again of a batch that bears no more than so many failures.

In each look a part of its items: however many there are, no statement takes long, and the other
batches have their turns meanwhile.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import NamedTuple

from zart_server.domain.batches import EXACT_OUTCOMES
from zart_server.store.batches.made import count_dead_again
from zart_server.store.batches.rows import UNCOUNTED, BatchRow, batch_of_key
from zart_server.store.batches.states import set_failures_before
from zart_server.store.connection import Tx
from zart_server.store.db import Database

_AT_ONCE = EXACT_OUTCOMES  # items in a look


class Judged(NamedTuple):
    """How many items ended badly again, counted before the batch is locked; None: it bears them.

    ``failures_before``: as they were when the count began; ``seconds``: that it took.
    """

    dead: int | None = None
    failures_before: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class DeadAgain:
    """How far a count has come: it goes on after an item, 0: begins."""

    limit: int = field(default_factory=lambda: _AT_ONCE)
    after: int = 0
    dead: int = 0
    failures_before: int = 0
    seconds: float = 0.0


async def count_on(db: Database, batch_key: int, so_far: DeadAgain) -> Judged | None:
    """Count some more of what ended badly again; return what to judge by, None: it is not all yet.

    As soon as there is more than the batch bears, that is enough. Nothing is counted of one that
    bears any number, or of which that is wanted.
    """
    begun = time.monotonic()
    async with db.autocommit() as connection:
        row = await batch_of_key(connection, batch_key)
        if (
            row is None
            or row.batch.pace.max_failures is None
            or row.batch.operation.kind.is_to_fail
        ):
            so_far.after = 0
            return Judged()
        if not so_far.after:
            so_far.dead, so_far.failures_before, so_far.seconds = 0, row.failures_before, 0.0
        kind = row.batch.operation.kind
        found = await count_dead_again(connection, batch_key, kind, so_far.after, so_far.limit)
    so_far.after = found.last_item
    so_far.dead += found.dead
    so_far.seconds += time.monotonic() - begun
    so_far.limit = min(_AT_ONCE, so_far.limit * 2)
    is_enough = row.failures_before != UNCOUNTED and _left_of(row, so_far.dead) <= 0
    if so_far.after and not is_enough:
        return None
    so_far.after = 0
    return Judged(so_far.dead, so_far.failures_before, so_far.seconds)


def is_unjudged(row: BatchRow, judged: Judged | None) -> bool:
    """Return whether a batch has to be judged before anything is done, since it was resumed.

    Those of its failures that do not count are not counted yet, and not by this judgement.
    """
    if row.batch.pace.max_failures is None or row.failures_before != UNCOUNTED:
        return False
    return judged is None or judged.dead is None or judged.failures_before != UNCOUNTED


async def failures_left(tx: Tx, row: BatchRow, judged: Judged | None) -> int | None:
    """Return how many failures more a batch bears, as far as is known; None: any number.

    What had failed when it was resumed does not count. Where that has completed since, it does not
    make room for others.
    """
    if row.batch.pace.max_failures is None:
        return None
    if judged is None or judged.dead is None:
        return _left_of(row, 0)
    failures = row.batch.counts.refused + judged.dead
    is_less = failures < row.failures_before or row.failures_before == UNCOUNTED
    if is_less and judged.failures_before == row.failures_before:
        await set_failures_before(tx, row.batch_key, failures)
        return row.batch.pace.max_failures
    return _left_of(row, judged.dead)


def _left_of(row: BatchRow, dead: int) -> int:
    most = row.batch.pace.max_failures or 0
    return most - row.batch.counts.refused - dead + row.failures_before
