"""Which outcomes are rejected, and what told in their place keeps of a step what it may still become."""

from __future__ import annotations

from datetime import timedelta

import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from rig import Rig

from zart.models import LeasedTask
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1 import execution_pb2, execution_service_pb2
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from zart.v1.execution_service_pb2_grpc import ExecutionServiceStub

_MOST = 366 * 86_400  # seconds
_KIB = 1024


async def told(rig: Rig, task: LeasedTask, **outcome: object) -> tuple[str, str]:
    """Report one outcome; gives its status and why it was rejected."""
    one = pb.TaskOutcome(task_id=task.task_id, lease_token=task.lease_token, **outcome)  # type: ignore[arg-type]
    stub = DispatchServiceStub(rig.client.channel)
    response = await stub.ReportTasks(pb.ReportTasksRequest(dispatcher_id="d", outcomes=[one]))
    (result,) = response.results
    return pb.ReportStatus.Name(result.status).removeprefix("REPORT_STATUS_"), result.error


@pytest.mark.parametrize(
    "delay", [Duration(seconds=-1), Duration(nanos=-1), Duration(seconds=_MOST + 1)]
)
async def test_a_failure_told_again_without_its_delay_is_repeated_with_its_own_error(
    rig: Rig, delay: Duration
) -> None:
    await rig.start("x", {"a": ()})
    task = await rig.lease_one("a")
    busy = execution_pb2.StepError(type="Busy", message="come later")
    failed = pb.TaskFailed(error=busy, retryable=True, retry_after=delay)

    status, why = await told(rig, task, failed=failed)
    assert (status, why[:19]) == ("REJECTED", "failed.retry_after:")
    assert await rig.statuses() == {"a": "RUNNING"}

    failed.ClearField("retry_after")
    assert await told(rig, task, failed=failed) == ("RECORDED", "")
    assert (await rig.lease_one("a")).attempt == 2
    first, _ = (await rig.client.get_step("x", "a")).attempts
    assert first.error is not None
    assert (first.status, first.error.type, first.error.message) == ("FAILED", "Busy", "come later")


@pytest.mark.parametrize("seconds", [-1, _MOST + 1])
async def test_a_task_given_back_without_its_delay_is_queued_at_once(
    rig: Rig, seconds: int
) -> None:
    await rig.start("x", {"a": ()})
    task = await rig.lease_one("a")
    released = pb.TaskReleased(retry_after=Duration(seconds=seconds), not_begun=True)

    status, why = await told(rig, task, released=released)
    assert (status, why[:21]) == ("REJECTED", "released.retry_after:")

    released.ClearField("retry_after")
    assert await told(rig, task, released=released) == ("RECORDED", "")
    again = await rig.lease_one("a")
    assert again.attempt == 2
    assert again.lease_token > task.lease_token


@pytest.mark.parametrize("kind", ["failed", "released"])
@pytest.mark.parametrize("seconds", [0, _MOST])
async def test_a_delay_of_0_to_366_days_is_taken(rig: Rig, kind: str, seconds: int) -> None:
    await rig.start("x", {"a": ()})
    task = await rig.lease_one("a")
    delay = Duration(seconds=seconds)
    outcome = {
        "failed": pb.TaskFailed(retryable=True, retry_after=delay),
        "released": pb.TaskReleased(not_begun=True, retry_after=delay),
    }[kind]
    assert await told(rig, task, **{kind: outcome}) == ("RECORDED", "")
    step = await rig.client.get_step("x", "a")
    assert step.status == "SCHEDULED"
    if seconds:
        assert step.not_before is not None
        (ended,) = [each.completed_at for each in step.attempts]
        assert ended is not None
        assert abs(step.not_before - ended - timedelta(days=366)) < timedelta(minutes=1)


async def test_an_error_is_cut_and_never_rejected(rig: Rig) -> None:
    """Its details first, then its message."""
    await rig.start("x", {"a": ()})
    task = await rig.lease_one("a")
    error = execution_pb2.StepError(
        type="T" * _KIB, message="\x00" + "m" * (_KIB - 3), details="d" * (_KIB * _KIB)
    )
    assert await told(rig, task, failed=pb.TaskFailed(error=error)) == ("RECORDED", "")
    (attempt,) = (await rig.client.get_step("x", "a")).attempts
    assert attempt.error is not None
    assert attempt.error.type == error.type
    assert attempt.error.message == "\N{REPLACEMENT CHARACTER}" + "m" * (_KIB - 3)
    assert attempt.error.details == "d" * (14 * _KIB)


@pytest.mark.parametrize(
    "text",
    [
        '"' + "x" * (_KIB * _KIB - 1) + '"',
        "[" * 65 + "]" * 65,
        "NaN",
        "1e400",
        r'"\u0000"',
        r'"\ud800"',
    ],
    ids=["large", "deep", "NaN", "range", "U+0000", "half"],
)
async def test_a_result_that_cannot_be_stored_is_rejected_and_the_lease_stands(
    rig: Rig, text: str
) -> None:
    await rig.start("x", {"a": ()})
    task = await rig.lease_one("a")
    status, why = await told(rig, task, completed=pb.TaskCompleted(result_json=text))
    assert status == "REJECTED"
    assert "completed.result_json" in why
    assert await told(rig, task, failed=pb.TaskFailed()) == ("RECORDED", "")
    assert await rig.statuses() == {"a": "DEAD"}


@pytest.mark.parametrize(
    "text", [f'"{"x" * (_KIB * _KIB - 2)}"', "[" * 64 + "]" * 64, "9" * 5_000, ""]
)
async def test_a_result_at_its_bounds_is_taken(rig: Rig, text: str) -> None:
    await rig.start("x", {"a": ()})
    task = await rig.lease_one("a")
    completed = pb.TaskCompleted(result_json=text)
    assert await told(rig, task, completed=completed) == ("RECORDED", "")
    request = execution_service_pb2.GetStepRequest(execution_id="x", step_name="a")
    response = await ExecutionServiceStub(rig.client.channel).GetStep(request)
    assert response.step.result_json == (text or "null")


@pytest.mark.parametrize(
    "wish",
    [
        pb.LeaseNext(max_tasks=1),
        pb.LeaseNext(task_names=["t"]),
        pb.LeaseNext(task_names=["t"], max_tasks=1, handlers=["x" * 256]),
        pb.LeaseNext(task_names=["t"], max_tasks=1, lease_duration=Duration(seconds=3601)),
        pb.LeaseNext(task_names=["t"] * 1001, max_tasks=1),
    ],
    ids=["no task", "none", "handler", "lease", "tasks"],
)
async def test_a_bad_wish_for_more_fails_the_call_and_nothing_is_recorded(
    rig: Rig, wish: pb.LeaseNext
) -> None:
    await rig.start("x", {"a": ()})
    task = await rig.lease_one("a")
    request = pb.ReportTasksRequest(dispatcher_id="d", lease_next=wish)
    request.outcomes.add(
        task_id=task.task_id, lease_token=task.lease_token, completed=pb.TaskCompleted()
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await DispatchServiceStub(rig.client.channel).ReportTasks(request)
    is_many = len(wish.task_names) > 1000
    expected = grpc.StatusCode.RESOURCE_EXHAUSTED if is_many else grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.code() is expected
    assert await rig.statuses() == {"a": "RUNNING"}
    assert await rig.complete(task) == ["RECORDED"]
