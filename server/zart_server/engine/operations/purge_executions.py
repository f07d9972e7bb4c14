"""PurgeExecutions: removes what ended longer ago than a caller says, a piece a call."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime

from zart_server.domain.commands import Caller
from zart_server.domain.plans import PlanToken, decided
from zart_server.domain.retention import Purged, PurgedTask, PurgeExecutions
from zart_server.engine.operations.plans import judge_plan
from zart_server.engine.operations.remove_ended import remove_piece
from zart_server.store.clock import read_clock
from zart_server.store.connection import Connection, Tx
from zart_server.store.retention.finding import (
    FINISHED,
    Position,
    find_ended,
    next_positions,
    next_task,
)
from zart_server.store.retention.removing import count_ended, open_door

_MOST = 1_000  # executions a call, about
_PIECE = 250
_COUNTED = 100_000
_LONG = 2.0  # seconds that a call removes something for, about
_LONGEST = 10.0  # seconds that it looks for the first to remove, or counts


@dataclass
class _Budget:
    """What a call may do: it removes so many, or for so long, but something if it can."""

    most: int
    seconds: float
    removed: int = 0
    begun: float = field(default_factory=time.monotonic)

    @property
    def is_spent(self) -> bool:
        took = time.monotonic() - self.begun
        return self.removed >= self.most or took > (self.seconds if self.removed else _LONGEST)


async def purge_executions(
    tx: Tx, command: PurgeExecutions, caller: Caller, *, seconds: float = _LONG
) -> Purged:
    """Remove some of the executions that ended long enough ago; or tell what that would remove.

    With the token of a plan only what had by the moment of the plan. ``seconds``: after about so
    many it ends once it has removed something. Raises PlanChanged.
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
    tasks: list[PurgedTask] = []
    budget = _Budget(_COUNTED, _LONGEST) if token else _Budget(_MOST, seconds)
    if not token:
        await open_door(tx)
    async for name in _tasks(tx, command.task_name):
        if token:
            left = budget.most - budget.removed
            found = PurgedTask(name, *await count_ended(tx, name, ended_before, left))
            budget.removed += found.removed
        else:
            found = await _remove(tx, name, ended_before, caller, budget)
        if found.removed or found.kept:
            tasks.append(found)
        if is_partial := budget.is_spent:
            break
    else:
        is_partial = False
    return Purged(tuple(tasks), is_partial, ended_before, token)


async def _tasks(connection: Connection, task_name: str | None) -> AsyncIterator[str]:
    """Yield the one task, or all that have executions."""
    if task_name is not None:
        yield task_name
        return
    found = await next_task(connection, "")
    while found is not None:
        yield found
        found = await next_task(connection, found)


async def _remove(
    tx: Tx, task_name: str, ended_before: datetime, caller: Caller, budget: _Budget
) -> PurgedTask:
    after = dict.fromkeys(FINISHED, Position())
    removed = kept = 0
    while after and not budget.is_spent:
        looked = await find_ended(tx, task_name, after, ended_before, _PIECE)
        piece = await remove_piece(tx, task_name, looked, ended_before, caller)
        removed += piece.executions
        budget.removed += piece.executions
        kept += sum(one.overdue > 0 for one in looked) - piece.executions
        after = next_positions(after, looked, _PIECE)
    return PurgedTask(task_name, removed, kept)
