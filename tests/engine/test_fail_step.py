"""FailStep: a step is dead by an operator's word, and RetryStep leads out of that."""

from __future__ import annotations

import pytest
from invariants import broken
from rig import CHAIN, DIAMOND, Rig

import zart
from zart import errors

FAN_IN = {"a": (), "b": (), "c": ("a", "b")}


async def _stand(rig: Rig, status: str) -> str:
    if status == "PAUSED":
        await rig.client.pause(step_pattern="a")
    await rig.start("x", CHAIN)
    if status == "RUNNING":
        await rig.lease_one("a")
    return "b" if status == "PENDING" else "a"


@pytest.mark.parametrize("status", ["PENDING", "SCHEDULED", "PAUSED", "RUNNING"])
async def test_a_step_that_has_not_ended_is_dead_then(rig: Rig, status: str) -> None:
    step = await _stand(rig, status)
    answer = await rig.client.fail_step(
        "x", step, "no such address", fence=status == "RUNNING", reason="moved"
    )
    assert answer.step.status == "DEAD"
    assert answer.run_status == await rig.run_status()
    shown = await rig.client.get_step("x", step)
    assert shown.last_error is not None
    assert (shown.last_error.type, shown.last_error.message) == (
        "FailedByOperator",
        "no such address",
    )
    last = shown.attempts[-1]
    assert (last.status, last.dispatcher_id, last.reason) == ("FAILED", "operator", "moved")
    assert shown.resolution == "UNSPECIFIED"
    assert await rig.lease() == [] or step == "b"
    assert await broken(rig.db) == {}
    with pytest.raises(errors.StepFinished) as refused:
        await rig.client.fail_step("x", step, "again")
    assert refused.value.metadata["status"] == "DEAD"


async def test_a_late_report_of_what_was_fenced_is_refused(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    task = await rig.lease_one("a")
    with pytest.raises(errors.StepRunning):
        await rig.client.fail_step("x", "a", "no")
    answer = await rig.client.fail_step("x", "a", "no", fence=True, expected_attempt=1)
    assert (answer.run_status, [f.dispatcher_id for f in answer.fenced_steps]) == ("FAILED", ["d"])
    assert await rig.complete(task) == ["LEASE_LOST"]
    assert await rig.fail(task) == "LEASE_LOST"
    assert (await rig.client.get_execution("x")).run.error == "a: no"
    assert await broken(rig.db) == {}


async def test_a_completed_step_and_a_cancelled_run_are_final(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.complete(await rig.lease_one("a"))
    with pytest.raises(errors.StepFinished):
        await rig.client.fail_step("x", "a", "no")
    await rig.client.cancel_execution("x")
    with pytest.raises(errors.RunFinished):
        await rig.client.fail_step("x", "b", "no")
    with pytest.raises(errors.InvalidField):
        await rig.client.fail_step("x", "b", " ")


async def test_what_failed_while_pending_is_pending_again_and_then_runs(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.client.fail_step("x", "b", "not yet")
    assert await rig.run_status() == "SCHEDULED"
    answer = await rig.client.retry_step("x", "b")
    assert (answer.new_task_id, answer.step.status, answer.step.attempt) == ("", "PENDING", 1)
    assert await rig.run_status() == "RUNNING"

    await rig.complete(await rig.lease_one("a"))
    task = await rig.lease_one("b")
    assert (task.attempt, task.max_attempts) == (2, 3)
    await rig.complete(task)
    await rig.work()
    assert await rig.run_status() == "COMPLETED"
    assert await broken(rig.db) == {}


async def test_what_failed_while_pending_is_ready_once_its_dependencies_are_completed(
    rig: Rig,
) -> None:
    await rig.start("x", CHAIN)
    await rig.client.fail_step("x", "b", "not yet")
    await rig.work()
    assert await rig.statuses() == {"a": "COMPLETED", "b": "DEAD", "c": "PENDING"}
    assert await rig.run_status() == "FAILED"
    answer = await rig.client.retry_step("x", "b", max_attempts=1)
    assert (answer.step.status, answer.step.max_attempts) == ("SCHEDULED", 1)
    await rig.work()
    assert await rig.run_status() == "COMPLETED"
    assert await broken(rig.db) == {}


async def test_a_fan_in_that_failed_counts_anew_what_it_waits_for(rig: Rig) -> None:
    await rig.start("x", FAN_IN)
    await rig.client.fail_step("x", "c", "not yet")
    await rig.complete(await rig.lease_one("a"))
    assert (await rig.client.retry_step("x", "c")).step.status == "PENDING"
    await rig.complete(await rig.lease_one("b"))
    task = await rig.lease_one("c")
    assert task.upstream == {"a": "a", "b": "b"}
    await rig.complete(task)
    assert await rig.run_status() == "COMPLETED"


async def test_retried_behind_a_dead_step_its_run_is_failed_again(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.client.fail_step("x", "b", "not yet")
    await rig.work(fail=["a"])
    assert await rig.run_status() == "FAILED"
    assert (await rig.client.retry_step("x", "b")).step.status == "PENDING"
    assert await rig.run_status() == "FAILED"
    await rig.client.retry_step("x", "a")
    await rig.work()
    assert await rig.run_status() == "COMPLETED"
    assert await broken(rig.db) == {}


async def test_of_a_failed_run_a_pending_step_is_dead_and_the_run_stays_failed(rig: Rig) -> None:
    await rig.dead("x", CHAIN, "a")
    assert (await rig.client.fail_step("x", "c", "no")).run_status == "FAILED"
    await rig.client.retry_step("x", "a")
    await rig.work()
    assert await rig.statuses() == {"a": "COMPLETED", "b": "COMPLETED", "c": "DEAD"}
    assert await rig.run_status() == "FAILED"
    assert (await rig.client.complete_step("x", "c", "by hand")).run_status == "COMPLETED"
    assert await broken(rig.db) == {}


async def test_retried_under_a_pause_it_is_paused_when_it_becomes_ready(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.client.fail_step("x", "b", "not yet")
    rule = await rig.client.pause(step_pattern="b")
    assert (await rig.client.retry_step("x", "b")).step.status == "PENDING"
    await rig.work()
    assert (await rig.client.get_step("x", "b")).status == "PAUSED"
    await rig.client.resume(rule_id=rule.rule_id)
    assert (await rig.lease_one("b")).attempt == 2


async def test_a_step_that_failed_by_hand_can_be_completed_or_rerun(rig: Rig) -> None:
    await rig.start("x", DIAMOND)
    await rig.client.fail_step("x", "b", "no")
    await rig.work()
    answer = await rig.client.complete_step("x", "b", "by hand")
    assert (answer.step.attempt, answer.run_status) == (2, "RUNNING")
    await rig.work()
    assert await rig.run_status() == "COMPLETED"
    await rig.start("y", DIAMOND)
    await rig.client.fail_step("y", "b", "no")
    await rig.work()
    await rig.client.rerun("y")
    await rig.work()
    assert await rig.run_status("y") == "COMPLETED"
    assert await broken(rig.db) == {}


async def test_the_operation_is_on_record(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.lease_one("a")
    await rig.client.fail_step("x", "a", "no", fence=True, triggered_by="ops", reason="why not")
    operation = (await rig.client.list_operations(execution_id="x"))[0]
    assert (operation.kind, operation.step_name, operation.reason) == ("FAIL_STEP", "a", "why not")
    assert operation.replaced is not None
    assert operation.replaced.step_status == "RUNNING"
    assert [f.step_name for f in operation.replaced.fenced_steps] == ["a"]


async def test_it_is_found_by_its_error_at_once(rig: Rig) -> None:
    stop = zart.IfInDoubt.STOP
    await rig.start("x", {"a": (), "b": ()}, if_in_doubt=stop)
    for task in await rig.lease():
        if task.step_name == "a":
            await rig.report(zart.Outcome(task.task_id, task.lease_token, zart.Lost()))
    await rig.client.fail_step("x", "a", "order 4711 is gone")  # it was dead before, in doubt
    await rig.client.fail_step("x", "b", "order 4712 is gone", fence=True)
    groups = await rig.client.list_error_groups()
    assert [(g.step_name, g.type, g.template, g.dead_steps) for g in groups] == [
        ("a", "FailedByOperator", "order <number> is gone", 1),
        ("b", "FailedByOperator", "order <number> is gone", 1),
    ]
    of_group = zart.ExecutionFilter(error_group_id=groups[0].error_group_id, step_pattern="a")
    assert [e.execution_id for e in await rig.client.list_executions(of_group)] == ["x"]
    assert await broken(rig.db) == {}


async def test_its_message_is_as_it_was_pasted_and_found_by_a_piece_of_it(rig: Rig) -> None:
    message = "the bank says:\n\tcard 4711 is\n\tstolen"
    await rig.start("x", CHAIN)
    await rig.client.fail_step("x", "a", message)
    [dead] = [s for s in (await rig.client.get_execution("x")).steps if s.step_name == "a"]
    assert dead.last_error is not None
    assert dead.last_error.message == message
    wanted = zart.ExecutionFilter(error_contains="4711 is\n\tstolen")
    assert [e.execution_id for e in await rig.client.list_executions(wanted)] == ["x"]
    for bad in ("a\0b", "é" * 501):
        with pytest.raises(errors.InvalidField) as refused:
            await rig.client.fail_step("x", "a", bad)
        assert list(refused.value.fields) == ["message"]
