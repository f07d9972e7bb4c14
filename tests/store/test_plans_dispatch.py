"""Leases, reports, extensions and reads take what they are about, however much there is besides."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import pytest
from plans import MANY, Explained, check, explained

from zart_server.domain.commands import Caller
from zart_server.domain.dispatch import (
    Completed,
    Failed,
    LeasedTask,
    LeaseNext,
    LeaseTasks,
    Outcome,
)
from zart_server.domain.model import ReportStatus, StepError
from zart_server.engine.dispatch.lease import lease_tasks
from zart_server.engine.dispatch.low_water import LowWater
from zart_server.engine.dispatch.report import record_in_general, record_outcomes
from zart_server.store.due import Begin, are_any_due, due_lanes
from zart_server.store.executions import Kind, NewExecution
from zart_server.store.leases import LeaseKey, expired_leases, extend, recorded_leases
from zart_server.store.lessees import Lessees
from zart_server.store.pausing.judging import judge, refresh_rules
from zart_server.store.queue import parse_task_id
from zart_server.store.reads.executions import get_execution
from zart_server.store.requests import Answered, RequestKey
from zart_server.store.start_fast import start_fast

BATCH = 50
ALSO = ("leases", "attempts")
SPAN = timedelta(seconds=30)


async def leased(tx: Explained, handler: str = "a") -> list[LeasedTask]:
    """Lease a batch."""
    wanted = LeaseTasks("d", ("many",), (handler,), BATCH, timedelta(0), SPAN)
    found = await lease_tasks(cast("Any", tx), wanted, LowWater())
    assert len(found) == BATCH
    return found


def lease_of(task: LeasedTask) -> LeaseKey:
    """Name a lease as the store does."""
    run_key, step_no, _ = parse_task_id(task.task_id) or (0, 0, 0)
    return LeaseKey(run_key, step_no, task.lease_token, "")


def completed(tasks: Sequence[LeasedTask], to: LeaseNext | None) -> list[Outcome]:
    """Complete tasks."""
    return [Outcome(t.task_id, t.lease_token, Completed("1"), "", to) for t in tasks]


async def test_starting(many: str) -> None:
    async with explained(many) as tx:
        key, version = await tx.tx.fetchrow(  # type: ignore[misc]  # there is one
            "SELECT definition_key, version FROM zart.definitions WHERE task_name = 'many'"
        )
        await tx.tx.execute(
            "UPDATE zart.task_names SET definition_key = $1 WHERE task_name = 'many'", key
        )
        judgement = await judge(cast("Any", tx), [])
        tx.plans.clear()
        new = NewExecution("new", Kind("many", key, version, Caller()), "1")
        answer = Answered(RequestKey("", "StartExecution", "once"), b"", b"")
        to = Lessees()
        to.add(None)
        found = await start_fast(cast("Any", tx), new, judgement, to, answer)

        assert found is not None
        check(tx.plans, 5, *ALSO)


async def test_leasing(many: str) -> None:
    async with explained(many) as tx:
        await leased(tx)

        check(tx.plans, 5 * BATCH, *ALSO)


async def test_leasing_on_from_a_mark(many: str) -> None:
    async with explained(many) as tx:
        low_water = LowWater()
        wanted = LeaseTasks("d", ("many",), ("a",), BATCH, timedelta(0), SPAN)
        for _ in range(2):
            tx.plans.clear()
            assert len(await lease_tasks(cast("Any", tx), wanted, low_water)) == BATCH

        check(tx.plans, 5 * BATCH, *ALSO)


async def test_peeking(many: str) -> None:
    async with explained(many) as tx:
        assert (await are_any_due(cast("Any", tx), ("many",), None, Begin()))[1]
        assert not (await are_any_due(cast("Any", tx), ("many",), ("b",), Begin()))[1]
        await due_lanes(cast("Any", tx), ("many",), Begin())
        await expired_leases(cast("Any", tx), BATCH)

        check(tx.plans, 5 * BATCH, *ALSO)


@pytest.mark.parametrize("is_one_statement", [True, False], ids=["passed on", "in general"])
async def test_completing(many: str, *, is_one_statement: bool) -> None:
    to = LeaseNext("d", "", frozenset({"many"}), frozenset(), BATCH, SPAN)
    async with explained(many) as tx:
        tasks = await leased(tx)
        await refresh_rules(cast("Any", tx))
        for steps in "ab":
            tx.plans.clear()
            outcomes = completed(tasks, to)
            if is_one_statement:
                done = await record_outcomes(cast("Any", tx), outcomes)
            else:
                done = await record_in_general(cast("Any", tx), outcomes, wait=False)
            tasks = [task for _, task in done.tasks]

            assert set(done.statuses.values()) == {ReportStatus.RECORDED}
            assert len(tasks) == (BATCH if steps == "a" else 0)
            assert (len(tx.plans) == 1) is is_one_statement
            check(tx.plans, 5 * BATCH, *ALSO)


async def test_failing(many: str) -> None:
    async with explained(many) as tx:
        tasks = await leased(tx)
        failed = Failed(StepError("Broken", "no"), retryable=False, retry_after=None)
        outcomes = [Outcome(t.task_id, t.lease_token, failed, "") for t in tasks]
        tx.plans.clear()
        done = await record_in_general(cast("Any", tx), outcomes, wait=False)
        assert set(done.statuses.values()) == {ReportStatus.RECORDED}
        await recorded_leases(cast("Any", tx), [lease_of(task) for task in tasks])

        check(tx.plans, 5 * BATCH, *ALSO)


async def test_extending(many: str) -> None:
    async with explained(many) as tx:
        tasks = await leased(tx)
        tx.plans.clear()
        assert len(await extend(cast("Any", tx), [lease_of(task) for task in tasks])) == BATCH

        check(tx.plans, 5 * BATCH, *ALSO)


@pytest.mark.parametrize("number", [1, 5, MANY + 1, MANY + 2])
async def test_reading(many: str, number: int) -> None:
    async with explained(many) as tx:
        view = await get_execution(cast("Any", tx), f"x-{number}", None)

        assert len(view.steps) == 2
        check(tx.plans, 5, *ALSO)
