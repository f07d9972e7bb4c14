"""Steps that may have happened: an attempt that was not reported stops its step."""

from __future__ import annotations

from typing import Any

import pytest
from rig import CHAIN, LONG, Rig, eventually

import zart
from zart.errors import PlanChanged, RunFinished, StepInDoubt
from zart.models import LeasedTask, StepError
from zart_server.domain.doubt import Doubt, Finding
from zart_server.domain.model import AttemptStatus
from zart_server.engine.operations.doubts import bound_doubts

STOP = {"if_in_doubt": zart.IfInDoubt.STOP}
ONE = {"a": ()}


async def ended(rig: Rig, task: LeasedTask, ending: Any) -> str:
    """Report an ending; gives the report's status."""
    (result,) = await rig.report(zart.Outcome(task.task_id, task.lease_token, ending))
    return result.status.value


async def in_doubt(rig: Rig, execution_id: str = "x", ending: Any = None) -> LeasedTask:
    """Start an execution of one step that is in doubt at once."""
    await rig.start(execution_id, ONE, **STOP)
    task = await rig.lease_one("a", execution_id)
    assert await ended(rig, task, ending or zart.Lost()) == "RECORDED"
    return task


@pytest.mark.parametrize(
    ("ending", "status"),
    [(zart.Lost(), "LOST"), (zart.TimedOut(), "TIMED_OUT"), (zart.Released(), "LOST")],
)
async def test_an_attempt_of_which_nobody_knows_stops_its_step(
    rig: Rig, ending: Any, status: str
) -> None:
    await in_doubt(rig, ending=ending)
    step = await rig.client.get_step("x", "a")
    assert step.status == "DEAD"
    assert step.in_doubt
    assert not step.retryable
    assert step.last_error is not None
    assert step.last_error.type == "InDoubt"
    (attempt,) = step.attempts
    assert (attempt.status, attempt.in_doubt) == (status, True)
    assert await rig.run_status() == "FAILED"
    assert not await rig.lease()


async def test_dispatchers_that_stop_make_one_group_of_errors(rig: Rig) -> None:
    for number, name in enumerate(("host:7:3fa09c", "other:12:bcdefa")):
        await rig.start(f"x{number}", ONE, **STOP)
        (task,) = await rig.client.lease_tasks(name, ["t"], wait=LONG)
        lost = zart.Outcome(task.task_id, task.lease_token, zart.Lost())
        await rig.client.report_tasks(name, [lost])
    (group,) = await rig.client.list_error_groups()
    assert group.dead_steps == 2
    assert group.template.startswith("<text> stopped while the handler was at work")


async def test_one_that_was_swept_is_in_doubt(rig: Rig) -> None:
    await rig.start("x", ONE, **STOP)
    await rig.lease_one("a", lease_duration=1)

    async def is_dead() -> bool:
        return await rig.statuses() == {"a": "DEAD"}

    await eventually(is_dead)
    (attempt,) = (await rig.client.get_step("x", "a")).attempts
    assert (attempt.status, attempt.in_doubt) == ("LOST", True)


async def test_what_its_dispatcher_tells_is_not_in_doubt(rig: Rig) -> None:
    await rig.start("x", ONE, **STOP)
    task = await rig.lease_one("a")
    await rig.fail(task, retryable=True)
    task = await rig.lease_one("a")
    assert await ended(rig, task, zart.Released(not_begun=True)) == "RECORDED"
    task = await rig.lease_one("a")
    assert task.attempt == 3
    await rig.complete(task)
    assert not (await rig.client.get_step("x", "a")).in_doubt
    assert await rig.run_status() == "COMPLETED"


async def test_a_step_that_may_run_twice_is_tried_again(rig: Rig) -> None:
    await rig.start("x", ONE)
    task = await rig.lease_one("a")
    assert await ended(rig, task, zart.Lost()) == "RECORDED"
    assert await rig.statuses() == {"a": "SCHEDULED"}
    task = await rig.lease_one("a")
    assert await ended(rig, task, zart.Released()) == "RECORDED"
    step = await rig.client.get_step("x", "a")
    assert [(each.status, each.in_doubt) for each in step.attempts] == [
        ("LOST", False),
        ("RELEASED", False),
    ]
    assert not step.in_doubt
    assert await rig.db.fetchval("SELECT count(*) FROM zart.in_doubt") == 0
    # The lost one counts, the released one does not.
    assert await rig.db.fetchval("SELECT counted FROM zart.queue") == 1


async def test_what_is_abandoned_is_in_doubt_and_its_step_stays_as_it_is(rig: Rig) -> None:
    await rig.start("x", CHAIN, **STOP)
    await rig.lease_one("a")
    await rig.client.cancel_execution("x")
    step = await rig.client.get_step("x", "a")
    assert step.status == "CANCELLED"
    assert step.in_doubt
    (attempt,) = step.attempts
    assert (attempt.status, attempt.in_doubt) == ("ABANDONED", True)
    assert not (await rig.client.get_step("x", "b")).in_doubt
    assert await rig.db.fetchval("SELECT count(*) FROM zart.in_doubt") == 1
    with pytest.raises(RunFinished):
        await rig.client.retry_step("x", "a", accept_in_doubt=True)


async def test_a_retry_has_to_accept_the_doubt_and_resolves_it(rig: Rig) -> None:
    await in_doubt(rig)
    with pytest.raises(StepInDoubt) as refused:
        await rig.client.retry_step("x", "a")
    assert refused.value.metadata == {
        "run_id": "x:run:0",
        "step_name": "a",
        "attempt": "1",
        "ended_as": "LOST",
        "finding": "",
    }
    done = await rig.client.retry_step("x", "a", accept_in_doubt=True, reason="the bank says no")
    assert (done.step.status, done.step.in_doubt) == ("SCHEDULED", False)
    assert [each.in_doubt for each in done.step.attempts] == [False]
    row = await rig.db.fetchrow("SELECT * FROM zart_in_doubt")
    operations = [each async for each in rig.client.list_operations(execution_id="x")]
    assert row is not None
    assert str(row["resolved_by_operation_id"]) == operations[0].operation_id
    assert (row["finding"], row["reason"]) == (None, "the bank says no")
    # The next doubt is another one.
    task = await rig.lease_one("a")
    await ended(rig, task, zart.Lost())
    with pytest.raises(StepInDoubt, match="attempt 2"):
        await rig.client.retry_step("x", "a")


async def test_a_plan_of_a_retry_binds_whether_the_step_is_in_doubt(rig: Rig) -> None:
    await in_doubt(rig)
    with pytest.raises(StepInDoubt):
        await rig.client.retry_step("x", "a", validate_only=True)
    plan = await rig.client.retry_step("x", "a", accept_in_doubt=True, validate_only=True)
    await rig.db.execute(
        "UPDATE zart.in_doubt SET resolved_at = now(), resolved_by = 0, finding = 'did_not_happen'"
    )
    with pytest.raises(PlanChanged) as refused:
        await rig.client.retry_step("x", "a", accept_in_doubt=True, plan_token=plan.plan_token)
    assert refused.value.metadata["changed"] == "in_doubt"
    assert (await rig.client.retry_step("x", "a")).step.status == "SCHEDULED"


async def test_what_was_found_to_have_happened_has_to_be_accepted_as_well(rig: Rig) -> None:
    await in_doubt(rig)
    await rig.db.execute(
        "UPDATE zart.in_doubt SET resolved_at = now(), resolved_by = 0, finding = 'happened'"
    )
    assert not (await rig.client.get_step("x", "a")).in_doubt
    with pytest.raises(StepInDoubt, match="found to have happened"):
        await rig.client.retry_step("x", "a")
    with pytest.raises(StepInDoubt):
        await rig.client.rerun("x")
    await rig.client.retry_step("x", "a", accept_in_doubt=True)
    await rig.work()
    # Once it is completed, a rerun that names it is as good as any.
    await rig.client.rerun("x", force_rerun=["a"])


async def test_restart_and_rerun_have_to_accept_what_they_run_again(rig: Rig) -> None:
    await rig.start("x", CHAIN, **STOP)
    await rig.complete(await rig.lease_one("a"))
    await ended(rig, await rig.lease_one("b"), zart.TimedOut())
    with pytest.raises(StepInDoubt) as refused:
        await rig.client.restart("x")
    assert refused.value.metadata["step_name"] == "b"
    with pytest.raises(StepInDoubt):
        await rig.client.rerun("x")
    plan = await rig.client.rerun("x", accept_in_doubt=True, validate_only=True)
    done = await rig.client.rerun("x", accept_in_doubt=True, plan_token=plan.plan_token)
    assert done.effective_rerun == ("b", "c")
    # What was in doubt in the run before stays so: nobody has found out yet.
    assert (await rig.client.get_step("x", "b", run_number=0)).in_doubt
    assert not (await rig.client.get_step("x", "b")).in_doubt
    # That was accepted once (but see test_happened_earlier.py).
    assert (await rig.client.restart("x")).new_run_number == 2


async def test_what_would_be_abandoned_and_run_again_has_to_be_accepted(rig: Rig) -> None:
    await rig.start("x", ONE, **STOP)
    await rig.lease_one("a")
    for operate in (rig.client.restart, rig.client.rerun):
        with pytest.raises(StepInDoubt) as refused:
            await operate("x")
        assert refused.value.metadata["ended_as"] == "RUNNING"
    assert await rig.statuses() == {"a": "RUNNING"}
    await rig.client.restart("x", accept_in_doubt=True)
    assert (await rig.client.get_step("x", "a", run_number=0)).in_doubt
    assert await rig.statuses() == {"a": "SCHEDULED"}


async def test_plans_of_what_ends_a_run_bind_the_steps_in_doubt(rig: Rig) -> None:
    await rig.start("x", ONE, **STOP)
    plan = await rig.client.cancel_execution("x", validate_only=True)
    restart = await rig.client.restart("x", accept_in_doubt=True, validate_only=True)
    await rig.lease_one("a")
    with pytest.raises(PlanChanged) as refused:
        await rig.client.cancel_execution("x", plan_token=plan.plan_token)
    assert refused.value.metadata["changed"] == "in_doubt"
    with pytest.raises(PlanChanged):
        await rig.client.restart("x", accept_in_doubt=True, plan_token=restart.plan_token)


@pytest.mark.parametrize("first", [zart.Lost(), zart.TimedOut(), zart.Released()])
async def test_a_late_outcome_changes_nothing_and_is_kept(rig: Rig, first: Any) -> None:
    task = await in_doubt(rig, ending=first)
    assert await ended(rig, task, first) == "ALREADY_RECORDED"
    for _ in range(2):
        assert await ended(rig, task, zart.Completed({"paid": 7})) == "LEASE_LOST"
    failed = zart.Failed(StepError("Later", "no", ""))
    assert await ended(rig, task, failed) == "LEASE_LOST"
    row = await rig.db.fetchrow("SELECT * FROM zart_in_doubt")
    assert row is not None
    assert (row["late_status"], row["late_result_json"]) == ("completed", '{"paid":7}')
    assert row["late_received_at"] is not None
    assert (await rig.client.get_step("x", "a")).status == "DEAD"


async def test_a_late_outcome_that_tells_more_replaces_one_that_tells_nothing(rig: Rig) -> None:
    await rig.start("x", ONE, **STOP)
    task = await rig.lease_one("a")
    await rig.client.cancel_execution("x")
    for ending, kept in (
        (zart.Lost(), "lost"),
        (zart.Released(not_begun=True), "released"),
        (zart.Completed("x" * 70_000), "released"),
    ):
        assert await ended(rig, task, ending) == "LEASE_LOST"
        assert await rig.db.fetchval("SELECT late_status FROM zart.in_doubt") == kept


async def test_a_late_result_that_is_large_is_left_out(rig: Rig) -> None:
    task = await in_doubt(rig)
    assert await ended(rig, task, zart.Completed("x" * 70_000)) == "LEASE_LOST"
    row = await rig.db.fetchrow("SELECT late_status, late_result, late_omitted FROM zart.in_doubt")
    assert row is not None
    assert tuple(row) == ("completed", None, True)


async def test_others_late_outcomes_are_not_kept(rig: Rig) -> None:
    task = await in_doubt(rig)
    (result,) = await rig.report(
        zart.Outcome(task.task_id, task.lease_token + 1, zart.Completed(1))
    )
    assert result.status == "LEASE_LOST"
    assert await rig.db.fetchval("SELECT late_status FROM zart.in_doubt") is None


def test_once_is_for_what_must_not_happen_twice() -> None:
    task = zart.Task("t")
    once = task.step(once=True)(lambda _: None)
    named = task.step(name="n", once=True, retry=zart.Retry(max_attempts=5))(lambda _: None)
    plain = task.step(name="p")(lambda _: None)
    assert (once.spec.if_in_doubt, once.spec.retry.max_attempts) == ("STOP", 1)
    assert (named.spec.if_in_doubt, named.spec.retry.max_attempts) == ("STOP", 5)
    assert (plain.spec.if_in_doubt, plain.spec.retry.max_attempts) == ("RETRY", 3)


async def test_the_definition_tells_what_was_registered(rig: Rig) -> None:
    specs = [zart.StepSpec("a", if_in_doubt=zart.IfInDoubt.STOP), zart.StepSpec("b")]
    await rig.client.register_task("t", specs)
    found = await rig.client.get_task_definition("t")
    assert [step.if_in_doubt for step in found.steps] == ["STOP", "RETRY"]
    assert (await rig.client.register_task("t", [zart.StepSpec("a"), specs[1]])).version == 2


def test_plans_bind_each_step_in_doubt_once_and_what_was_found_of_it() -> None:
    lost = Doubt("a", 1, AttemptStatus.LOST)
    running = Doubt("b", 1, AttemptStatus.RUNNING)
    assert bound_doubts([lost, lost._replace(attempt=2), running]) == (("a", None), ("b", None))
    happened = lost._replace(finding=Finding.HAPPENED)
    assert bound_doubts([happened]) == (("a", "happened"),)
