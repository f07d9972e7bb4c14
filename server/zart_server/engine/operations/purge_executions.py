"""PurgeExecutions: removes what ended longer ago than a caller says, a piece a call."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from zart_server.domain.commands import Caller
from zart_server.domain.plans import PlanToken, decided
from zart_server.domain.retention import Purged, PurgedTask, PurgeExecutions
from zart_server.engine.operations.ended_walk import EndedWalk
from zart_server.engine.operations.plans import judge_plan
from zart_server.engine.operations.remove_ended import remove_piece
from zart_server.store.clock import read_clock
from zart_server.store.connection import Connection, Tx
from zart_server.store.retention.removing import count_ended, open_door

_MOST = 1_000  # executions a call, about
_PIECE = 250
_COUNTED = 100_000
_LONG = 2.0  # seconds that a call removes something for, about
_LONGEST = 10.0  # seconds that it looks for the first to remove, or counts


@dataclass
class _Budget:
    """What a call may do: so many executions, or for so long; ``longest`` before the first one."""

    most: int
    seconds: float
    longest: float
    done: int = 0
    begun: float = field(default_factory=time.monotonic)

    @property
    def is_spent(self) -> bool:
        took = time.monotonic() - self.begun
        return self.done >= self.most or took > (self.seconds if self.done else self.longest)


async def purge_executions(
    tx: Tx,
    command: PurgeExecutions,
    caller: Caller,
    *,
    seconds: float = _LONG,
    longest: float = _LONGEST,
    piece: int = _PIECE,
) -> Purged:
    """Remove some of the executions that ended long enough ago; or tell what that would remove.

    With the token of a plan only what had by the moment of the plan. After one look at least, of so
    many of each status, it ends: after about ``seconds`` if it has removed something, after
    ``longest`` in any case. Raises PlanChanged.
    """
    planning = command.planning
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
    await open_door(tx)
    walk = _walk(command)
    budget = _Budget(_MOST, seconds, longest)
    removed: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    is_partial = False
    while not is_partial and (name := await walk.task(tx)) is not None:
        looked = await walk.look(tx, ended_before, piece)
        gone = (await remove_piece(tx, name, looked, ended_before, caller)).executions
        budget.done += gone
        removed[name] += gone
        kept[name] += sum(one.overdue > 0 for one in looked) - gone
        is_partial = budget.is_spent
    tasks = _told((name, count, kept[name]) for name, count in removed.items())
    cursor = walk.cursor if is_partial else None
    return Purged(command, tasks, is_partial, ended_before, cursor=cursor)


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
    budget = _Budget(_COUNTED, _LONGEST, _LONGEST)
    counts = []
    is_partial = False
    while not is_partial and (name := await walk.task(connection)) is not None:
        removed, kept = await count_ended(connection, name, ended_before, _COUNTED - budget.done)
        walk.leave_task()
        budget.done += removed
        counts.append((name, removed, kept))
        is_partial = budget.is_spent
    return _told(counts), is_partial
