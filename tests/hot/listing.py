"""Lists: each kind of filter, what is there and what is not."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime

from hot.explained import Explained
from hot.scenario import BATCH, scenario
from zart_server.domain.filters import ListExecutions
from zart_server.domain.model import PauseScope, RunStatus, StepStatus
from zart_server.domain.operations import ListOperations, OperationKind, OperationStatus
from zart_server.store import reads

_MIDDLE = (20_000,)
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_DONE = (OperationStatus.DONE,)
_ATTEMPTED = (OperationStatus.PLANNED, OperationStatus.REFUSED)
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
    for wanted in (
        ListOperations(),
        ListOperations(kinds=(OperationKind.RESTART,)),
        ListOperations("x-1"),
        ListOperations(batch_id="b-1"),
        ListOperations(breaker_id="br-1"),
        ListOperations(rule_id="pr-1"),
        ListOperations(incident="INC-1"),
        ListOperations(triggered_by="ops-1"),
        ListOperations(principal="p-1"),
    ):
        for statuses in _DONE, _ATTEMPTED:
            await reads.list_operations(tx.tx, replace(wanted, statuses=statuses), None, BATCH)


@scenario(1000)
async def listing_operations_by_several(tx: Explained) -> None:
    for wanted in (
        ListOperations(kinds=(OperationKind.START,)),
        ListOperations(kinds=(OperationKind.START,), triggered_by="ops-1"),
        ListOperations("x-1", (OperationKind.START,), "nobody"),
        ListOperations(triggered_by="ops-1", incident="INC-1"),
        ListOperations(triggered_by="ops-1", kinds=(OperationKind.RESUME,)),
        ListOperations(),
    ):
        for after, before in ((None, None), (_LONG_AGO, None), (None, _LONG_AGO)):
            timed = replace(wanted, created_after=after, created_before=before)
            for statuses in _DONE, _ATTEMPTED, (*_DONE, OperationStatus.REFUSED):
                await reads.list_operations(tx.tx, replace(timed, statuses=statuses), None, BATCH)


@scenario()
async def listing_the_rest(tx: Explained) -> None:
    await reads.list_runs(tx.tx, "x-1", None, BATCH)
    await reads.list_task_definitions(tx.tx, None, BATCH)
    for scope in ((None, None, None), ("x-1", None, None), (None, "many", None), (None, None, "b")):
        for include_deleted in (False, True):
            await reads.list_pause_rules(tx.tx, PauseScope(*scope), include_deleted, None, BATCH)
