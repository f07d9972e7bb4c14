"""PurgeExecutions: removes what ended longer ago than a caller says, a little a call.

A call is one transaction, and whoever starts an execution with an id that goes waits for its end:
so it is a short one, and the next call goes on behind it.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from zart_server.domain.commands import Caller
from zart_server.domain.ended_cursor import FROM_THE_OLDEST
from zart_server.domain.errors import OperationTimeout
from zart_server.domain.plans import PlanToken, decided
from zart_server.domain.retention import Purged, PurgedTask, PurgeExecutions
from zart_server.engine.operations.ended_walk import EndedWalk
from zart_server.engine.operations.plans import judge_plan
from zart_server.engine.operations.remove_ended import remove_piece
from zart_server.store.clock import read_clock
from zart_server.store.connection import Connection, Tx
from zart_server.store.retention.finding import FINISHED, Looked
from zart_server.store.retention.records import forget_records
from zart_server.store.retention.removing import allow_purge, count_ended, undone_if_late

_MOST = 1_000  # executions a call, about
_PIECE = 10  # of each status, at first: nobody knows what they hold
_LARGEST_PIECE = 250
_LONG = 0.25  # seconds that a piece is to take at most
_TOO_LONG = 1.0  # seconds for a statement of a piece, which is undone then
_SECONDS = 0.5  # that a call removes something for, about
_LONGEST = 1.0  # seconds that it looks for the first to remove
_COUNTED = 100_000
_COUNTING = 10.0  # seconds


@dataclass
class _Budget:
    """What a call may do: so many executions, or for so long; ``longest`` before the first one."""

    most: int
    seconds: float
    longest: float
    done: int = 0
    begun: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        return self.begun + (self.seconds if self.done else self.longest) - time.monotonic()

    @property
    def is_spent(self) -> bool:
        return self.done >= self.most or self.left < 0

    def next_size(self, size: int, looked: int, took: float, statuses: int) -> int:
        """Return how many of so many statuses fit, by how long the piece before took; 0: none."""
        each = max(took, 1e-6) / max(looked, 1)
        if self.is_spent or each > self.left:
            return 0
        fit = int(min(self.left, _LONG) / each / statuses)
        return max(1, min(_LARGEST_PIECE, 4 * size, self.most - self.done, fit))


async def purge_executions(
    tx: Tx,
    command: PurgeExecutions,
    caller: Caller,
    *,
    seconds: float = _SECONDS,
    longest: float = _LONGEST,
    piece: int = _PIECE,
) -> Purged:
    """Remove some of the executions that ended long enough ago; or tell what that would remove.

    With the token of a plan only what had by the moment of the plan. After one look at least, of so
    many of each status, it ends: after about ``seconds`` if it has removed something, after
    ``longest`` in any case, and before what would take longer. Raises PlanChanged.
    """
    planning = replace(command.planning, has_begun=command.cursor != FROM_THE_OLDEST)
    token = await judge_plan(tx, planning, decided()) if planning else ""
    if planning.validate_only:
        as_of = PlanToken.of_text(token).made_at
    elif planning.token is not None:
        as_of = planning.token.made_at
    else:
        as_of = await read_clock(tx)
    ended_before = as_of - command.older_than
    if token:
        tasks, is_partial = await _count(tx, command, ended_before)
        return Purged(command, tasks, is_partial, ended_before, token)
    await allow_purge(tx)
    walk = _walk(command)
    budget = _Budget(_MOST, seconds, longest)
    removed: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    size, has_gone_on = piece, False
    while size and (name := await walk.task(tx)) is not None:
        begun, since = time.monotonic(), walk.cursor
        try:
            is_alone = size == 1 and not has_gone_on
            bound: contextlib.AbstractAsyncContextManager[None] = (
                contextlib.nullcontext() if is_alone else undone_if_late(tx, _TOO_LONG)
            )
            async with bound:
                looked, gone = await _go_on(tx, walk, name, ended_before, size, caller)
        except OperationTimeout:
            walk.cursor = since
            size = 0 if has_gone_on else 1  # which has all the time of a call
            budget.begun = time.monotonic()
            continue
        has_gone_on = True
        budget.done += gone
        removed[name] += gone
        kept[name] += sum(one.overdue > 0 for one in looked) - gone
        statuses = len(walk.cursor.after) or len(FINISHED)
        size = budget.next_size(size, len(looked), time.monotonic() - begun, statuses)
    if command.cursor == FROM_THE_OLDEST:  # once a purge, however many calls it takes
        await forget_records(tx)
    tasks = _told((name, count, kept[name]) for name, count in removed.items())
    cursor = None if size else walk.cursor
    return Purged(command, tasks, not size, ended_before, cursor=cursor)


async def _go_on(
    tx: Tx, walk: EndedWalk, name: str, ended_before: datetime, size: int, caller: Caller
) -> tuple[Sequence[Looked], int]:
    """Look at the next of a task; return them, and how many of them were removed."""
    looked = await walk.look(tx, ended_before, size)
    return looked, (await remove_piece(tx, name, looked, ended_before, caller)).executions


def _walk(command: PurgeExecutions) -> EndedWalk:
    only = None if command.task_name is None else [command.task_name]
    return EndedWalk(command.cursor, only)


def _told(tasks: Iterable[tuple[str, int, int]]) -> tuple[PurgedTask, ...]:
    """Return the tasks of which something goes, or stays though it ended long enough ago."""
    return tuple(PurgedTask(*task) for task in tasks if any(task[1:]))


async def _count(
    connection: Connection, command: PurgeExecutions, ended_before: datetime
) -> tuple[tuple[PurgedTask, ...], bool]:
    """Count what would be removed, by task; return whether there may be more."""
    walk = _walk(command)
    budget = _Budget(_COUNTED, _COUNTING, _COUNTING)
    counts = []
    is_partial = False
    while not budget.is_spent and (name := await walk.task(connection)) is not None:
        most = _COUNTED - budget.done
        removed, kept, is_more = await count_ended(connection, name, ended_before, most)
        walk.leave_task()
        budget.done += removed
        counts.append((name, removed, kept))
        is_partial = is_partial or is_more
    return _told(counts), is_partial or budget.is_spent
