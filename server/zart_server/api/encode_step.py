"""Encodes steps: into the message that they are part of, for many are told to watches.

Field by field, and only what differs from an empty message: a step that is made by itself, whole,
and copied costs twice as much.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from zart.v1 import execution_pb2
from zart_server.domain import model
from zart_server.domain.step_resolution import StepResolution

STEP_STATUS = {s: execution_pb2.StepStatus.Value(f"STEP_STATUS_{s.name}") for s in model.StepStatus}
ATTEMPT_STATUS = {
    s: execution_pb2.AttemptStatus.Value(f"ATTEMPT_STATUS_{s.name}") for s in model.AttemptStatus
}
RESOLUTION: dict[StepResolution | None, execution_pb2.StepResolution.ValueType] = {
    None: execution_pb2.STEP_RESOLUTION_UNSPECIFIED,
    **{
        each: execution_pb2.StepResolution.Value(f"STEP_RESOLUTION_{each.name}")
        for each in StepResolution
    },
}
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_PLAIN = (
    "step_name",
    "handler",
    "attempt",
    "max_attempts",
    "result_omitted",
    "retryable",
    "task_id",
    "lease_owner",
    "paused_by",
    "waiting_on",
    "in_doubt",
    "input_corrections",
    "input_omitted",
    "errors_omitted",
)
_OPTIONAL = ("input_json", "result_json", "preserved_from_run_number")
_TIMES = ("not_before", "lease_expires_at", "scheduled_at", "started_at", "completed_at")


class _Steps(Protocol):
    def add(self) -> execution_pb2.Step: ...


def add_steps(encoded: _Steps, items: Iterable[model.Step]) -> None:
    """Encode steps, with their attempts, into a field of a message."""
    for item in items:
        _fill_step(encoded.add(), item)


def step(item: model.Step) -> execution_pb2.Step:
    """Encode one step with its attempts."""
    encoded = execution_pb2.Step()
    _fill_step(encoded, item)
    return encoded


def _fill_step(encoded: execution_pb2.Step, item: model.Step) -> None:
    encoded.status = STEP_STATUS[item.status]
    encoded.resolution = RESOLUTION[item.resolution]
    for name in _PLAIN:
        if value := getattr(item, name):
            setattr(encoded, name, value)
    for name in _OPTIONAL:
        if (value := getattr(item, name)) is not None:
            setattr(encoded, name, value)
    for name in _TIMES:
        if (time := getattr(item, name)) is not None:
            _fill_time(getattr(encoded, name), time)
    if item.depends_on:
        encoded.depends_on.extend(item.depends_on)
    if item.last_error is not None:
        _fill_error(encoded.last_error, item.last_error)
    for one in item.attempts:
        _fill_attempt(encoded.attempts.add(), one)


def _fill_attempt(encoded: execution_pb2.Attempt, item: model.Attempt) -> None:
    encoded.attempt = item.attempt
    encoded.status = ATTEMPT_STATUS[item.status]
    encoded.dispatcher_id = item.dispatcher_id
    encoded.principal = item.principal
    if item.in_doubt:
        encoded.in_doubt = True
    if item.reason:
        encoded.reason = item.reason
    if item.error is not None:
        _fill_error(encoded.error, item.error)
    _fill_time(encoded.started_at, item.started_at)
    if item.completed_at is not None:
        _fill_time(encoded.completed_at, item.completed_at)


def _fill_error(encoded: execution_pb2.StepError, item: model.StepError) -> None:
    encoded.SetInParent()
    encoded.type, encoded.message, encoded.details = item.type, item.message, item.details


def _fill_time(encoded: Timestamp, time: datetime) -> None:
    since = time - _EPOCH
    encoded.SetInParent()  # else the epoch itself would be no time at all
    encoded.seconds = since.days * 86400 + since.seconds
    encoded.nanos = since.microseconds * 1000
