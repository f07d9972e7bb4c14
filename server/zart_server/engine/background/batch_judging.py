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

    It is judged by until the next count. ``failures_before`` and ``max_failures``: as they were
    when it was counted; ``seconds``: that it took.
    """

    dead: int | None = None
    failures_before: int = 0
    max_failures: int | None = None
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
    most = row.batch.pace.max_failures
    return Judged(so_far.dead, so_far.failures_before, most, so_far.seconds)


def is_unjudged(row: BatchRow, judged: Judged | None) -> bool:
    """Return whether a batch has to be judged before anything is done.

    Since the last judgement it was resumed, or bears another number, or another server has counted.
    """
    most = row.batch.pace.max_failures
    if most is None or row.batch.operation.kind.is_to_fail:
        return False
    if judged is None or judged.dead is None:
        return True
    return (judged.failures_before, judged.max_failures) != (row.failures_before, most)


class FailuresLeft(NamedTuple):
    """How many failures more a batch bears, as far as is known; None: any number.

    ``judged``: what the pieces until the next count are judged by.
    """

    bearable: int | None
    judged: Judged | None


async def failures_left(tx: Tx, row: BatchRow, judged: Judged | None) -> FailuresLeft:
    """Return how many failures more a batch bears that is not unjudged.

    What had failed when it was resumed does not count. Where that has completed since, it does not
    make room for others.
    """
    if row.batch.pace.max_failures is None:
        return FailuresLeft(None, judged)
    if judged is None or judged.dead is None:
        return FailuresLeft(_left_of(row, 0), judged)
    left = _left_of(row, judged.dead)
    failures = row.batch.counts.refused + judged.dead
    if failures < row.failures_before or row.failures_before == UNCOUNTED:
        await set_failures_before(tx, row.batch_key, failures)
        judged = judged._replace(failures_before=failures)
        return FailuresLeft(row.batch.pace.max_failures, judged)
    return FailuresLeft(left, judged)


def _left_of(row: BatchRow, dead: int) -> int:
    most = row.batch.pace.max_failures or 0
    return most - row.batch.counts.refused - dead + row.failures_before
