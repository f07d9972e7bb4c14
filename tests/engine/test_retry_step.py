"""RetryStep revives one dead step of the current run."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from rig import CHAIN, Rig

import zart
from zart import errors
from zart_server.store.pausing.rules import SEIZE_PAUSE_LOCK


async def test_a_retried_step_can_finish_its_run(rig: Rig) -> None:
    await rig.dead(step="b")
    retried = await rig.client.retry_step("x", "b", reason="fixed")

    assert retried.new_task_id
    assert (retried.run_id, retried.step.status) == ("x:run:0", "SCHEDULED")
    assert await rig.run_status() == "RUNNING"
    await rig.work()

    state = await rig.client.get_execution("x")
    assert (state.run.status, state.run.error, state.run.result) == ("COMPLETED", "", "c")


async def test_what_waited_for_a_lock_is_scheduled_after_it(rig: Rig) -> None:
    """Who asks meanwhile sees that it is not: so it was not, at that moment."""
    await rig.dead(step="b")
    async with rig.locked(SEIZE_PAUSE_LOCK):
        retrying = asyncio.create_task(rig.client.retry_step("x", "b"))
        starting = asyncio.create_task(rig.start("y"))
        await rig.until_waiting(2)
        meanwhile = await rig.db.fetchval("SELECT clock_timestamp()")
    retried, _ = await asyncio.gather(retrying, starting)
    step, root = await rig.client.get_step("x", "b"), await rig.client.get_step("y", "a")
    assert step.scheduled_at
    assert root.scheduled_at
    assert min(step.scheduled_at, root.scheduled_at) > meanwhile
    assert (retried.step.scheduled_at, retried.step.not_before) == (
        step.scheduled_at,
        step.not_before,
    )


async def test_attempt_numbers_continue_and_the_evidence_of_the_failure_stays(rig: Rig) -> None:
    await rig.dead(step="b")
    await rig.client.retry_step("x", "b")
    task = await rig.lease_one("b")
    assert task.attempt == 2
    await rig.complete(task)

    step = await rig.client.get_step("x", "b")
    assert [(a.attempt, a.status.value) for a in step.attempts] == [(1, "FAILED"), (2, "COMPLETED")]
    assert step.attempts[0].error is not None
    assert step.attempts[0].error.message == "no"


async def test_the_new_budget_is_what_counted_so_far_and_max_attempts(rig: Rig) -> None:
    await rig.start("x", {"a": ()}, retry=zart.Retry(max_attempts=2, initial_backoff=0))
    for _ in range(2):
        await rig.fail(await rig.lease_one("a"), retryable=True)

    assert (await rig.client.retry_step("x", "a")).step.max_attempts == 4
    for _ in range(2):
        await rig.fail(await rig.lease_one("a"), retryable=True)
    assert await rig.run_status() == "FAILED"

    assert (await rig.client.retry_step("x", "a", max_attempts=1)).step.max_attempts == 5
    await rig.fail(await rig.lease_one("a"), retryable=True)
    assert await rig.run_status() == "FAILED"


async def test_with_other_dead_steps_left_the_run_ends_failed_again(rig: Rig) -> None:
    await rig.start("x", {"a": (), "b": ()})
    await rig.work(fail=["a", "b"])
    await rig.client.retry_step("x", "a")
    await rig.work()

    state = await rig.client.get_execution("x")
    assert state.run.status == "FAILED"
    assert state.run.error == "b: no"
    assert await rig.statuses() == {"a": "COMPLETED", "b": "DEAD"}


async def test_a_pause_rule_withholds_the_retried_step_and_the_answer_says_so(rig: Rig) -> None:
    await rig.dead(step="b")
    rule = await rig.client.pause(task_name="t", reason="maintenance", triggered_by="bob")
    retried = await rig.client.retry_step("x", "b")

    assert (retried.new_task_id, retried.step.status) == ("", "PAUSED")
    assert retried.step.paused_by == rule.rule_id
    assert retried.step.waiting_on == f"pause rule {rule.rule_id} (bob: maintenance)"
    assert await rig.lease() == []


async def test_of_two_retries_one_wins_and_one_task_is_claimable(rig: Rig) -> None:
    await rig.dead(step="b")
    answers = await asyncio.gather(
        *(rig.client.retry_step("x", "b") for _ in range(8)), return_exceptions=True
    )

    refused = [a for a in answers if isinstance(a, errors.StepNotDead)]
    assert len(refused) == 7
    assert refused[0].metadata["status"] == "SCHEDULED"
    assert len(await rig.lease()) == 1


@pytest.mark.parametrize("status", ["PENDING", "SCHEDULED", "RUNNING", "COMPLETED", "PAUSED"])
async def test_only_a_dead_step_can_be_retried(rig: Rig, status: str) -> None:
    if status == "PAUSED":
        await rig.client.pause(step_pattern="a")
    await rig.start("x", CHAIN)
    if status in {"RUNNING", "COMPLETED"}:
        task = await rig.lease_one("a")
        if status == "COMPLETED":
            await rig.complete(task)
    step = "b" if status == "PENDING" else "a"

    with pytest.raises(errors.StepNotDead) as refused:
        await rig.client.retry_step("x", step)

    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refused.value.metadata["status"] == status
    assert (await rig.client.get_step("x", step)).status == status


async def test_run_id_alone_names_the_execution_and_must_be_current(rig: Rig) -> None:
    await rig.dead(step="b")
    await rig.client.restart("x")
    await rig.work(fail=["b"])

    with pytest.raises(errors.RunNotCurrent):
        await rig.client.retry_step("", "b", run_id="x:run:0")
    assert (await rig.client.retry_step("", "b", run_id="x:run:1")).step.status == "SCHEDULED"


async def test_a_cancelled_run_cannot_be_revived(rig: Rig) -> None:
    await rig.start("x", {"a": (), "b": ()})
    await rig.fail(await rig.lease_one("a"))
    await rig.client.cancel_execution("x")

    with pytest.raises(errors.RunFinished):
        await rig.client.retry_step("x", "a")


async def test_the_operation_records_what_it_replaced(rig: Rig) -> None:
    await rig.dead(step="b")
    before = (await rig.client.get_execution("x")).run
    await rig.client.retry_step("x", "b", triggered_by="ops", reason="why not")

    operation = (await rig.client.list_operations(execution_id="x"))[0]
    assert (operation.kind, operation.triggered_by, operation.reason) == (
        "RETRY_STEP",
        "ops",
        "why not",
    )
    assert operation.replaced is not None
    assert operation.replaced.status == "FAILED"
    assert operation.replaced.error == before.error == "b: no"
    assert operation.replaced.completed_at == before.completed_at
    assert operation.replaced.step_status == "DEAD"
