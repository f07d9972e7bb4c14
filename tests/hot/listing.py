"""Lists: each kind of filter, what is there and what is not."""

from __future__ import annotations

import itertools

from hot.explained import Explained
from hot.scenario import BATCH, scenario
from zart_server.domain.commands import ListExecutions, ListOperations
from zart_server.domain.model import PauseScope, RunStatus, StepStatus
from zart_server.domain.operations import OperationKind
from zart_server.store import reads

_MIDDLE = (20_000,)
_UNFINISHED = (RunStatus.SCHEDULED, RunStatus.RUNNING)


async def _listed(tx: Explained, *steps: StepStatus) -> None:
    for task_name, statuses in itertools.product(("", "many"), ((), _UNFINISHED)):
        wanted = ListExecutions(task_name, statuses, steps, None, None)
        await reads.list_executions(tx.tx, wanted, _MIDDLE, BATCH)


@scenario()
async def listing_by_status(tx: Explained) -> None:
    await _listed(tx)


@scenario()
async def listing_by_dead_steps(tx: Explained) -> None:
    await _listed(tx, StepStatus.DEAD)


@scenario(1000)
async def listing_by_steps(tx: Explained) -> None:
    for state in (StepStatus.PAUSED, StepStatus.RUNNING, StepStatus.PENDING):
        wanted = ListExecutions("", (), (state,), None, None)
        await reads.list_executions(tx.tx, wanted, None, BATCH)
    wanted = ListExecutions("many", (), (StepStatus.PENDING,), None, None)
    await reads.list_executions(tx.tx, wanted, None, BATCH)


@scenario()
async def listing_operations(tx: Explained) -> None:
    for execution_id, kind in (("", None), ("", OperationKind.RESTART), ("x-1", None)):
        await reads.list_operations(tx.tx, ListOperations(execution_id, kind), None, BATCH)


@scenario(1000)
async def listing_starts(tx: Explained) -> None:
    wanted = ListOperations("", OperationKind.START)
    await reads.list_operations(tx.tx, wanted, None, BATCH)


@scenario()
async def listing_the_rest(tx: Explained) -> None:
    await reads.list_runs(tx.tx, "x-1", None, BATCH)
    await reads.list_task_definitions(tx.tx, None, BATCH)
    for scope in ((None, None, None), ("x-1", None, None), (None, "many", None), (None, None, "b")):
        for include_deleted in (False, True):
            await reads.list_pause_rules(tx.tx, PauseScope(*scope), include_deleted, None, BATCH)
