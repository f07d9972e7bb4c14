"""Steps are encoded field by field: none is left out, and none that is not there appears."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.message import Message

from zart.v1 import execution_pb2
from zart.v1 import execution_service_pb2 as pb
from zart_server.api import encode_step
from zart_server.domain import model
from zart_server.domain.step_resolution import StepResolution

_TIME = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ERROR = model.StepError("Timeout", "too late", "at line 7")
_ATTEMPT = model.Attempt(
    2,
    model.AttemptStatus.FAILED,
    "d-1",
    _ERROR,
    _TIME,
    _EPOCH,
    "someone",
    in_doubt=True,
    reason="why not",
)
_FULL = model.Step(
    step_name="b",
    status=model.StepStatus.DEAD,
    depends_on=("a",),
    handler="h",
    attempt=2,
    max_attempts=3,
    input_json="1",
    result_json="2",
    result_omitted=True,
    last_error=_ERROR,
    retryable=True,
    task_id="7.1.2",
    not_before=_TIME,
    lease_owner="d-1",
    lease_expires_at=_TIME,
    paused_by="rule",
    waiting_on="a",
    preserved_from_run_number=0,
    scheduled_at=_EPOCH,
    started_at=_TIME,
    completed_at=_TIME,
    attempts=(_ATTEMPT,),
    input_corrections=2,
    input_omitted=True,
    errors_omitted=True,
    in_doubt=True,
    resolution=StepResolution.SKIPPED_BY_OPERATOR,
)


def _names(message: Message) -> set[str]:
    return {field.name for field, _ in message.ListFields()}


def test_every_field_is_encoded() -> None:
    encoded = encode_step.step(_FULL)
    assert _names(encoded) == set(execution_pb2.Step.DESCRIPTOR.fields_by_name)
    (attempt,) = encoded.attempts
    assert _names(attempt) == set(execution_pb2.Attempt.DESCRIPTOR.fields_by_name)
    assert _names(attempt.error) == set(execution_pb2.StepError.DESCRIPTOR.fields_by_name)
    assert encoded.completed_at.ToDatetime(UTC) == _TIME
    assert encoded.scheduled_at.ToDatetime(UTC) == _EPOCH
    assert encoded.preserved_from_run_number == 0
    assert (encoded.input_json, encoded.result_json) == ("1", "2")


def test_what_is_not_there_is_not_encoded() -> None:
    empty = model.Step("a", model.StepStatus.PENDING, (), "", 0, 3)
    assert _names(encode_step.step(empty)) == {"step_name", "status", "max_attempts"}
    silent = encode_step.step(
        model.Step("a", model.StepStatus.DEAD, (), "", 0, 3, last_error=model.StepError())
    )
    assert silent.HasField("last_error")


def test_steps_of_a_message_are_those_that_stand_alone() -> None:
    response = pb.WatchExecutionResponse()
    encode_step.add_steps(response.steps, [_FULL, _FULL])
    assert list(response.steps) == [encode_step.step(_FULL)] * 2
