"""CompleteStep: a step ended by hand is completed like any other, and once."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from invariants import broken
from rig import CHAIN, DIAMOND, Rig

import zart
from zart import errors

BIG = "x" * (1024 * 1024 - 2)
FAN_IN = {"a": (), "b": (), "c": ("a", "b")}


async def _stand(rig: Rig, status: str) -> str:
    """Bring a step of a chain into a state; gives its name."""
    if status == "PAUSED":
        await rig.client.pause(step_pattern="a")
    await rig.start("x", CHAIN)
    if status == "RUNNING":
        await rig.lease_one("a")
    if status == "DEAD":
        await rig.work(fail=["a"])
    return "b" if status == "PENDING" else "a"


@pytest.mark.parametrize("status", ["PENDING", "SCHEDULED", "PAUSED", "RUNNING", "DEAD"])
async def test_a_step_is_completed_from_every_state_that_is_not_completed(
    rig: Rig, status: str
) -> None:
    step = await _stand(rig, status)
    assert (await rig.client.get_step("x", step)).status == status

    answer = await rig.client.complete_step(
        "x", step, {"id": 17}, fence=status == "RUNNING", triggered_by="ops", reason="by phone"
    )

    before = 1 if status in {"RUNNING", "DEAD"} else 0
    assert (answer.run_id, answer.step.status) == ("x:run:0", "COMPLETED")
    assert answer.step.resolution == "COMPLETED_BY_OPERATOR"
    assert answer.step.attempt == before + 1
    now = await rig.client.get_step("x", step)
    assert now.result == {"id": 17}
    last = now.attempts[-1]
    assert (last.attempt, last.status, last.dispatcher_id, last.reason) == (
        before + 1,
        "COMPLETED",
        "operator",
        "by phone",
    )
    assert [f.step_name for f in answer.fenced_steps] == ["a"] * (status == "RUNNING")
    await rig.client.resume(everything=True)
    await rig.work()
    state = await rig.client.get_execution("x")
    assert (state.run.status, state.run.result) == ("COMPLETED", "c")
    assert state.step(step).result == {"id": 17}
    assert state.step("c").resolution == "EXECUTED"
    assert await broken(rig.db) == {}


async def test_a_completed_step_cannot_be_completed_again(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.complete(await rig.lease_one("a"))
    await rig.client.complete_step("x", "b", 1)
    for step in ("a", "b"):
        with pytest.raises(errors.StepFinished) as refused:
            await rig.client.complete_step("x", step, 2)
        assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION
        assert refused.value.metadata["status"] == "COMPLETED"
    await rig.work()
    with pytest.raises(errors.StepFinished):
        await rig.client.complete_step("x", "c", 2)


async def test_a_step_in_flight_is_completed_only_with_fence(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    task = await rig.lease_one("a")
    with pytest.raises(errors.StepRunning) as refused:
        await rig.client.complete_step("x", "a", "by hand")
    assert refused.value.metadata["attempt"] == "1"
    assert refused.value.metadata["dispatcher_id"] == "d"
    with pytest.raises(errors.StepChanged) as changed:
        await rig.client.complete_step("x", "a", "by hand", fence=True, expected_attempt=2)
    assert changed.value.code is grpc.StatusCode.ABORTED
    assert (changed.value.metadata["expected_attempt"], changed.value.metadata["attempt"]) == (
        "2",
        "1",
    )

    answer = await rig.client.complete_step("x", "a", "by hand", fence=True, expected_attempt=1)

    assert await rig.complete(task) == ["LEASE_LOST"]
    assert not (await rig.client.extend_leases("d", [zart.Lease(task.task_id, task.lease_token)]))[
        0
    ].extended
    step = await rig.client.get_step("x", "a")
    assert step.result == "by hand"
    with pytest.raises(errors.StepChanged):  # told before that it is COMPLETED
        await rig.client.complete_step("x", "a", "again", expected_attempt=1)
    assert [(a.attempt, a.status.value) for a in step.attempts] == [
        (1, "ABANDONED"),
        (2, "COMPLETED"),
    ]
    assert [(f.attempt, f.dispatcher_id) for f in answer.fenced_steps] == [(1, "d")]


async def test_a_step_that_is_pending_is_not_run_and_what_it_waits_for_is(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.client.complete_step("x", "b", "by hand")
    assert await rig.statuses() == {"a": "SCHEDULED", "b": "COMPLETED", "c": "SCHEDULED"}

    found = {t.step_name: t for t in await rig.lease()}
    assert sorted(found) == ["a", "c"]
    assert found["c"].upstream == {"b": "by hand"}
    assert await rig.complete(found["a"]) == ["RECORDED"]
    assert await rig.lease() == []
    assert await rig.run_status() == "RUNNING"
    assert await rig.complete(found["c"]) == ["RECORDED"]
    assert await rig.run_status() == "COMPLETED"
    assert await broken(rig.db) == {}


@pytest.mark.parametrize("by_hand", ["a", "b"])
async def test_a_fan_in_opens_when_all_it_waits_for_is_completed(rig: Rig, by_hand: str) -> None:
    await rig.start("x", FAN_IN)
    other = {"a": "b", "b": "a"}[by_hand]
    task = await rig.lease_one(other)
    await rig.client.complete_step("x", by_hand, "by hand")
    assert (await rig.client.get_step("x", "c")).status == "PENDING"
    await rig.complete(task)
    task = await rig.lease_one("c")
    assert task.upstream == {by_hand: "by hand", other: other}
    await rig.complete(task)
    assert await rig.run_status() == "COMPLETED"


async def test_a_fan_in_that_was_completed_is_not_run_when_its_dependencies_are(rig: Rig) -> None:
    await rig.start("x", DIAMOND)
    await rig.client.complete_step("x", "d", "by hand")
    await rig.work()
    state = await rig.client.get_execution("x")
    assert (state.run.status, state.run.result) == ("COMPLETED", "by hand")
    assert await broken(rig.db) == {}


async def test_the_last_step_completes_its_run(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    answer = await rig.client.complete_step("x", "a", None)
    assert answer.run_status == "COMPLETED"
    state = await rig.client.get_execution("x")
    assert state.run.started_at is not None
    assert state.run.result is None


async def test_out_of_failed_leads_the_completion_of_a_dead_step(rig: Rig) -> None:
    await rig.start("x", {"a": (), "b": (), "c": ("a",), "d": ("b",)})
    await rig.work(fail=["a", "b"])
    assert await rig.run_status() == "FAILED"

    answer = await rig.client.complete_step("x", "a", "by hand")
    assert answer.run_status == "RUNNING"
    await rig.work()
    state = await rig.client.get_execution("x")
    assert (state.run.status, state.run.error) == ("FAILED", "b: no")
    assert (await rig.client.complete_step("x", "b", "by hand")).run_status == "RUNNING"
    await rig.work()
    assert await rig.run_status() == "COMPLETED"
    assert await broken(rig.db) == {}


async def test_with_another_dead_step_and_nothing_to_do_the_run_is_failed_again(rig: Rig) -> None:
    await rig.start("x", {"a": (), "b": ()})
    await rig.work(fail=["a", "b"])
    assert (await rig.client.complete_step("x", "a", 1)).run_status == "FAILED"
    assert (await rig.client.complete_step("x", "b", 1)).run_status == "COMPLETED"


async def test_a_pending_step_of_a_failed_run_leads_out_only_if_another_can_run(rig: Rig) -> None:
    await rig.dead(step="a")
    assert await rig.run_status() == "FAILED"
    before = (await rig.client.get_execution("x")).run
    assert (await rig.client.complete_step("x", "c", "by hand")).run_status == "FAILED"
    assert (await rig.client.get_execution("x")).run == before
    await rig.start("y", CHAIN)
    await rig.work(fail=["a"])
    assert (await rig.client.complete_step("y", "b", "by hand")).run_status == "RUNNING"
    await rig.work()
    assert await rig.run_status("y") == "FAILED"
    assert await broken(rig.db) == {}


async def test_a_cancelled_run_is_final(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.client.cancel_execution("x")
    with pytest.raises(errors.RunFinished):
        await rig.client.complete_step("x", "a", 1)


async def test_only_the_current_run_is_meant(rig: Rig) -> None:
    await rig.dead(step="b")
    await rig.client.restart("x")
    with pytest.raises(errors.RunChanged):
        await rig.client.complete_step("x", "b", 1, expected_run_number=0)
    with pytest.raises(errors.StepNotFound):
        await rig.client.complete_step("x", "z", 1)
    with pytest.raises(errors.ExecutionNotFound):
        await rig.client.complete_step("y", "b", 1)
    assert (await rig.client.complete_step("x", "b", 1, expected_run_number=1)).run_id == "x:run:1"


async def test_a_result_of_1_mib_is_handed_on_and_left_out_of_the_answer(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    for is_plan in (True, False):
        answer = await rig.client.complete_step(
            "x", "a", BIG, request_id="r", validate_only=is_plan
        )
        assert answer.planned is is_plan
        assert answer.step.status == "COMPLETED"
        assert (answer.step.result, answer.step.result_omitted) == (None, True)
    stored = await rig.db.fetchval(
        "SELECT octet_length(response) FROM zart.requests WHERE request_id = 'r'"
    )
    assert 0 < stored < 1024
    task = await rig.lease_one("b")
    assert task.upstream == {"a": BIG}
    with pytest.raises(errors.PayloadTooLarge):
        await rig.client.complete_step("x", "c", BIG + "x")
    assert (await rig.client.get_step("x", "a")).result == BIG


async def test_a_repeat_under_one_request_id_is_answered_once_done(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    first = await rig.client.complete_step("x", "a", 1, request_id="r")
    again = await rig.client.complete_step("x", "a", 1, request_id="r")
    assert (first.replayed, again.replayed) == (False, True)
    assert again.step == first.step


async def test_of_many_completions_one_is_the_outcome(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    answers = await asyncio.gather(
        *(rig.client.complete_step("x", "a", n) for n in range(8)), return_exceptions=True
    )
    done = [n for n, a in enumerate(answers) if not isinstance(a, BaseException)]
    assert len(done) == 1
    assert sum(isinstance(a, errors.StepFinished) for a in answers) == 7
    assert (await rig.client.get_step("x", "a")).result == done[0]
    assert len(await rig.lease()) == 1


async def test_many_executions_are_completed_together(rig: Rig) -> None:
    names = [f"x{n}" for n in range(40)]
    for name in names:
        await rig.start(name, CHAIN)
    await asyncio.gather(*(rig.client.complete_step(name, "a", name) for name in names))
    found = await rig.lease(100)
    assert sorted(t.execution_id for t in found) == sorted(names)
    assert all(t.upstream == {"a": t.execution_id} for t in found)


async def test_the_operation_is_on_record_with_what_it_replaced(rig: Rig) -> None:
    await rig.dead(step="b")
    before = (await rig.client.get_execution("x")).run
    await rig.client.complete_step("x", "b", 1, triggered_by="ops", reason="w", incident="INC-7")

    operation = (await rig.client.list_operations(execution_id="x"))[0]
    assert (operation.kind, operation.triggered_by, operation.reason, operation.incident) == (
        "COMPLETE_STEP",
        "ops",
        "w",
        "INC-7",
    )
    assert operation.replaced is not None
    assert operation.made is not None
    assert operation.made.resolution == "COMPLETED_BY_OPERATOR"
    assert operation.replaced.status == "FAILED"
    assert operation.replaced.error == before.error
    assert operation.replaced.completed_at == before.completed_at
    assert operation.replaced.step_status == "DEAD"
    assert operation.replaced.step_error is not None
    assert operation.replaced.step_error.message == "no"
