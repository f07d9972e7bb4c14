"""Leases, reports and extensions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from hot.claiming import without_the_dead
from hot.explained import Explained
from hot.scenario import BATCH, scenario
from zart_server.domain.commands import Caller, StartExecution
from zart_server.domain.dispatch import (
    Completed,
    Failed,
    LeasedTask,
    LeaseNext,
    LeaseTasks,
    Lost,
    Outcome,
    Released,
)
from zart_server.domain.model import IfExists, ReportStatus, StepError
from zart_server.engine.dispatch.lease import lease_tasks
from zart_server.engine.dispatch.low_water import LowWater
from zart_server.engine.dispatch.outcome_batch import find_batch
from zart_server.engine.dispatch.record_in_general import record_in_general
from zart_server.engine.dispatch.report import record_outcomes
from zart_server.engine.operations.start import start_executions
from zart_server.store.claims import Claim, claim
from zart_server.store.due import Begin
from zart_server.store.leases import LeaseKey, extend, read_lease, recorded_leases, unclaim
from zart_server.store.locked_rows import find_locked_runs
from zart_server.store.pausing.judging import refresh_rules
from zart_server.store.queue import parse_task_id

SPAN = timedelta(seconds=30)
TO = LeaseNext("d", "", frozenset({"many"}), frozenset(), BATCH, SPAN)


async def leased(tx: Explained, count: int = BATCH) -> list[LeasedTask]:
    """Lease the first tasks."""
    wanted = LeaseTasks("d", ("many",), ("a",), count, timedelta(0), SPAN)
    found = await lease_tasks(tx.tx, wanted, LowWater())
    assert len(found) == count
    return found


def lease_of(task: LeasedTask) -> LeaseKey:
    """Name a lease as the store does."""
    run_key, step_no = parse_task_id(task.task_id) or (0, 0)
    return LeaseKey(run_key, step_no, task.lease_token, "")


def completed(tasks: Sequence[LeasedTask]) -> list[Outcome]:
    """Complete tasks, and lease what follows."""
    return [Outcome(t.task_id, t.lease_token, Completed("1"), "", TO) for t in tasks]


async def recorded(
    tx: Explained, outcomes: Sequence[Outcome], *, wait: bool = False, swept: bool = False
) -> list[LeasedTask]:
    """Record outcomes in general; gives what was leased next."""
    batch = await find_batch(tx.tx, outcomes)
    done = await record_in_general(tx.tx, batch, wait=wait, swept=swept)
    assert set(done.statuses.values()) == {ReportStatus.RECORDED}
    return [task for _, task in done.tasks]


@scenario()
async def leasing(tx: Explained) -> None:
    await leased(tx)


@scenario()
async def leasing_on_from_a_mark(tx: Explained) -> None:
    low_water = LowWater()
    wanted = LeaseTasks("d", ("many",), ("a",), BATCH, timedelta(0), SPAN)
    for _ in range(2):
        assert len(await lease_tasks(tx.tx, wanted, low_water)) == BATCH


@scenario()
async def leasing_too_much(tx: Explained) -> None:
    await without_the_dead(tx)
    wanted = Claim(["many"], ["a"], BATCH, "d", "", 30)
    found = await claim(tx.tx, wanted, Begin())
    assert len(found.claimed) == BATCH
    await unclaim(tx.tx, found.claimed)


@scenario()
async def completing_in_one_statement(tx: Explained) -> None:
    tasks = await leased(tx)
    await refresh_rules(tx.tx)
    for step in "ab":
        tx.plans.clear()
        done = await record_outcomes(tx.alone, completed(tasks))
        assert done is not None
        assert set(done.statuses.values()) == {ReportStatus.RECORDED}
        tasks = [task for _, task in done.tasks]
        assert len(tasks) == (BATCH if step == "a" else 0)
        assert len(tx.plans) in (0, 1)  # 0: nobody judges


@scenario()
async def completing_in_general(tx: Explained) -> None:
    tasks = await leased(tx)
    for _ in "ab":
        tasks = await recorded(tx, completed(tasks), wait=True)


_FANS = LeaseTasks("d", ("fan",), (), BATCH, timedelta(0), SPAN)


async def begun_fans(tx: Explained) -> list[LeasedTask]:
    """Begin executions in which a step waits for two, and lease these."""
    starts = [
        StartExecution(f"fan-{n}", "fan", None, None, IfExists.FAIL, Caller())
        for n in range(BATCH // 2)
    ]
    await start_executions(tx.tx, starts)
    return await lease_tasks(tx.tx, _FANS, LowWater())


@scenario()
async def completing_what_others_wait_for(tx: Explained) -> None:
    tasks = await begun_fans(tx)
    assert len(tasks) == BATCH
    await recorded(tx, completed(tasks))
    found = await lease_tasks(tx.tx, _FANS, LowWater())
    assert {task.step.step_name for task in found} == {"m"}


@scenario()
async def leasing_joins_with_reports(tx: Explained) -> None:
    tasks = await begun_fans(tx)
    name = tasks[0].step.step_name
    await recorded(tx, completed([task for task in tasks if task.step.step_name == name]))
    to = LeaseNext("d", "", frozenset({"fan"}), frozenset(), BATCH, SPAN)
    last = [task for task in tasks if task.step.step_name != name]
    outcomes = [Outcome(t.task_id, t.lease_token, Completed("1"), "", to) for t in last]
    assert len(await recorded(tx, outcomes)) == len(last) == BATCH // 2


@scenario()
async def dying(tx: Explained) -> None:
    tasks = await leased(tx)
    failed = Failed(StepError("Broken", "no"), retryable=False, retry_after=None)
    await recorded(tx, [Outcome(t.task_id, t.lease_token, failed, "") for t in tasks])
    assert len(await recorded_leases(tx.tx, [lease_of(task) for task in tasks])) == BATCH


@scenario()
async def failing_and_releasing(tx: Explained) -> None:
    tasks = await leased(tx)
    failed = Failed(StepError("Broken", "no"), retryable=True, retry_after=None)
    endings: list[Failed | Released] = [failed, Released(None)] * (BATCH // 2)
    outcomes = [
        Outcome(t.task_id, t.lease_token, ending, "")
        for t, ending in zip(tasks, endings, strict=True)
    ]
    await recorded(tx, outcomes)


@scenario()
async def giving_back_unbegun(tx: Explained) -> None:
    tasks = await leased(tx)
    ending = Released(None, not_begun=True)
    await recorded(tx, [Outcome(t.task_id, t.lease_token, ending, "") for t in tasks])
    again = await leased(tx)
    assert {task.execution_id for task in again} == {task.execution_id for task in tasks}


@scenario()
async def sweeping(tx: Explained) -> None:
    tasks = await leased(tx)
    await tx.sql.execute(
        "UPDATE zart.leases SET lease_expires_at = now() WHERE run_key > 0 AND lease_token >= $1",
        min(task.lease_token for task in tasks),
    )
    lost = [Outcome(t.task_id, t.lease_token, Lost("d", is_overdue=False), "") for t in tasks]
    await recorded(tx, lost, swept=True)


@scenario()
async def finding_what_keeps_a_report_waiting(tx: Explained) -> None:
    leases = [lease_of(task) for task in await leased(tx)]
    assert not await find_locked_runs(tx.tx, leases)


@scenario()
async def extending(tx: Explained) -> None:
    tasks = await leased(tx)
    leases = [lease_of(task) for task in tasks]
    assert len(await extend(tx.tx, leases)) == BATCH
    run_key, step_no, token, _ = leases[0]
    lost = LeaseKey(run_key, step_no, token - 1, "")
    assert len(await extend(tx.tx, [*leases[1:], lost])) == BATCH - 1
    assert await read_lease(tx.tx, leases[0])
