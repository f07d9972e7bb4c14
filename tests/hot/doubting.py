"""Attempts in doubt: made, kept evidence of, accepted, and read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from hot.administering import CALLER
from hot.dispatching import SPAN
from hot.explained import Explained
from hot.scenario import BATCH, scenario
from zart_server.domain.batches import BatchKind
from zart_server.domain.causes import CauseKind
from zart_server.domain.commands import CancelExecution, Restart, RetryStep, StartExecution
from zart_server.domain.dispatch import BrokenOff, Completed, LeasedTask, LeaseTasks, Outcome
from zart_server.domain.doubt import Finding, ResolveInDoubt
from zart_server.domain.errors import NotInDoubt
from zart_server.domain.filters import ExecutionFilter
from zart_server.domain.model import IfExists, IfRunning, ReportStatus, RunStatus, StepStatus
from zart_server.engine.dispatch.lease import lease_tasks
from zart_server.engine.dispatch.low_water import LowWater
from zart_server.engine.dispatch.outcome_batch import find_batch
from zart_server.engine.dispatch.record_in_general import record_in_general
from zart_server.engine.operations.cancel import cancel_executions
from zart_server.engine.operations.doubts import find_doubts
from zart_server.engine.operations.resolve_in_doubt import resolve_in_doubt
from zart_server.engine.operations.restart import restart
from zart_server.engine.operations.retry_step import retry_steps
from zart_server.engine.operations.start import start_executions
from zart_server.engine.operations.supersede import CurrentRun, Meant, lock_current
from zart_server.store.batches.counting import count_items
from zart_server.store.batches.selecting import Found
from zart_server.store.reads.executions import get_step
from zart_server.store.reads.in_doubt import list_in_doubt
from zart_server.store.reads.known_steps import read_known_steps


async def paying(tx: Explained, count: int = BATCH) -> list[LeasedTask]:
    """Lease steps of new executions that must not run twice."""
    starts = [
        StartExecution(f"pay-{n}", "pay", None, None, IfExists.FAIL, CALLER) for n in range(count)
    ]
    await start_executions(tx.tx, starts)
    wanted = LeaseTasks("d", ("pay",), (), count, timedelta(0), SPAN)
    found = await lease_tasks(tx.tx, wanted, LowWater())
    assert len(found) == count
    return found


async def broken_off(tx: Explained, tasks: Sequence[LeasedTask], *, wait: bool = False) -> None:
    """Put attempts in doubt."""
    outcomes = [Outcome(t.task_id, t.lease_token, BrokenOff("d"), "") for t in tasks]
    batch = await find_batch(tx.tx, outcomes)
    done = await record_in_general(tx.tx, batch, wait=wait)
    assert set(done.statuses.values()) == {ReportStatus.RECORDED}


@scenario()
async def putting_in_doubt(tx: Explained) -> None:
    tasks = await paying(tx)
    await broken_off(tx, tasks[::2])
    await broken_off(tx, tasks[1::2], wait=True)
    late = [Outcome(t.task_id, t.lease_token, Completed("1"), "") for t in tasks]
    done = await record_in_general(tx.tx, await find_batch(tx.tx, late))
    assert set(done.statuses.values()) == {ReportStatus.LEASE_LOST}


@scenario()
async def retrying_in_doubt(tx: Explained) -> None:
    tasks = await paying(tx)
    await broken_off(tx, tasks)
    wanted = [
        (RetryStep(t.execution_id, "p", None, None, None, accept_in_doubt=True), CALLER)
        for t in tasks
    ]
    done = await retry_steps(tx.tx, wanted, wait=True)
    assert {type(result).__name__ for result in done} == {"RetriedStep"}


@scenario()
async def running_again_what_was_found_to_have_happened(tx: Explained) -> None:
    ids = [task.execution_id for task in await paying(tx)]
    restarts = [
        (Restart(id_, None, IfRunning.SUPERSEDE, None, accept_in_doubt=True), CALLER) for id_ in ids
    ]
    assert {type(done).__name__ for done in await restart(tx.tx, restarts, wait=True)} == {
        "Restarted"
    }
    await tx.sql.execute(
        "UPDATE zart.in_doubt SET finding = 'happened', resolved_at = clock_timestamp(),"
        " resolved_by = 0 WHERE execution_id = ANY($1)",
        ids,
    )
    current = await lock_current(tx.tx, [Meant(id_, None) for id_ in ids], wait=True)
    keys = [each.run.run_key for each in current if isinstance(each, CurrentRun)]
    assert {*await find_doubts(tx.tx, current)} == {*keys}
    now = await tx.sql.fetchval("SELECT clock_timestamp()")
    counted = await count_items(tx.tx, BatchKind.RESTART, Found.of_runs(keys), now)
    assert sum(kind.items for kind in counted if kind.state.has_happened) == BATCH


@scenario(1)
async def explaining_what_was_found_to_have_happened(tx: Explained) -> None:
    await paying(tx, 1)
    wanted = Restart("pay-0", None, IfRunning.SUPERSEDE, None, accept_in_doubt=True)
    await restart(tx.tx, [(wanted, CALLER)], wait=True)
    await resolve_in_doubt(tx.tx, ResolveInDoubt("pay-0", 0, "p", 1, Finding.HAPPENED), CALLER)
    known = await read_known_steps(tx.tx, "pay-0", "p", None)
    assert known.run.happened == {"p"}


@scenario(1)
async def resolving_a_doubt(tx: Explained) -> None:
    tasks = await paying(tx, 2)
    await broken_off(tx, tasks)
    command = ResolveInDoubt("pay-0", 0, "p", 1, Finding.HAPPENED)
    done = await resolve_in_doubt(tx.tx, command, CALLER)
    assert done.finding is Finding.HAPPENED
    with pytest.raises(NotInDoubt):
        await resolve_in_doubt(tx.tx, command, CALLER)
    (explained,) = (await read_known_steps(tx.tx, "pay-1", "p", None)).explained()
    assert explained.causes[0].kind is CauseKind.IN_DOUBT


_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


# So many are looked at for a page where more is asked than the order of the list.
@scenario(2_001)
async def listing_doubts(tx: Explained) -> None:
    for wanted, least in (
        (ExecutionFilter(), BATCH),
        (ExecutionFilter(task_name="many"), BATCH),
        (ExecutionFilter(execution_id_prefix="x-1999", step_pattern="a*"), 5),
        (ExecutionFilter(execution_id_prefix="x-", task_name="many"), BATCH),
        (ExecutionFilter(step_statuses=(StepStatus.DEAD,), statuses=(RunStatus.FAILED,)), 0),
        (ExecutionFilter(error_group_id="eg-1", error_contains="no"), 0),
        (ExecutionFilter(triggered_by="nobody", created_after=_LONG_AGO), 0),
    ):
        page = await list_in_doubt(tx.alone, wanted, None, BATCH)
        assert len(page.items) >= least, wanted


@scenario(2)
async def abandoning_in_doubt(tx: Explained) -> None:
    await paying(tx, 2)
    current = await lock_current(tx.tx, [Meant("pay-0", None)], wait=True)
    assert len(await find_doubts(tx.tx, current)) == 1
    await cancel_executions(tx.tx, [(CancelExecution("pay-0", None), CALLER)], wait=True)
    assert (await get_step(tx.tx, "pay-0", "p", None)).in_doubt
