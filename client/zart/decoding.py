"""Proto answers to the dataclasses of ``zart.models``: field by field, by name and type."""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from zart.json_values import value_of
from zart.models import (
    BatchPlanKind,
    ExecutionSelection,
    IfInDoubt,
    Json,
    Refusal,
    Retry,
    Run,
    StepSpec,
)
from zart.models import batch_operations as batches
from zart.v1.execution_pb2 import RUN_STATUS_COMPLETED

M = TypeVar("M")
Reader = Callable[[Any], Any]

_NOT_SET = Retry()  # what 0 stands for


def decode(kind: type[M], message: Message) -> M:
    """Make a dataclass of a message.

    A field without a namesake in the proto is the parsed JSON of ``<name>_json``, or None where
    that is unset; but for those that others tell (``_DERIVED``).
    """
    return kind(
        **{
            name: read(message)
            for name, read in _readers(cast("Any", kind), message.DESCRIPTOR.name)
        }
    )


@functools.cache
def _readers(kind: Any, _message: str) -> tuple[tuple[str, Reader], ...]:  # noqa: ANN401 - a type
    hints = typing.get_type_hints(kind)
    return tuple(
        (field.name, _DERIVED.get((kind, field.name)) or _reader(field.name, hints[field.name]))
        for field in dataclasses.fields(kind)
    )


def _reader(name: str, hint: Any) -> Reader:  # noqa: ANN401, PLR0911 - a type, one return for each
    inner, optional = _unwrap(hint)
    if inner is Any:
        return functools.partial(_json, f"{name}_json")
    if typing.get_origin(inner) is Mapping:
        return functools.partial(_json_map, f"{name}_json")
    if typing.get_origin(inner) is tuple:
        item = typing.get_args(inner)[0]
        if isinstance(item, type) and issubclass(item, enum.Enum):
            return lambda message: tuple(map(item, _value_names(message, name)))
        make = _maker(item)
        return lambda message: tuple(make(part) for part in getattr(message, name))
    if inner is datetime or inner is timedelta or dataclasses.is_dataclass(inner):
        make = _maker(inner)
        return lambda message: make(getattr(message, name)) if message.HasField(name) else None
    if isinstance(inner, type) and issubclass(inner, enum.Enum):
        return lambda message: inner(_value_name(message, name))
    if optional:
        return lambda message: getattr(message, name) if message.HasField(name) else None
    return lambda message: getattr(message, name)


def _unwrap(hint: Any) -> tuple[Any, bool]:  # noqa: ANN401 - a type
    if typing.get_origin(hint) in {types.UnionType, typing.Union}:
        first, *others = typing.get_args(hint)
        return first, type(None) in others
    return hint, False


def _maker(kind: Any) -> Reader:  # noqa: ANN401 - a type
    if kind is datetime:
        return lambda time: time.ToDatetime(tzinfo=UTC)
    if kind is timedelta:
        return lambda span: span.ToTimedelta()
    if kind in _SPECIAL:
        return _SPECIAL[kind]
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return lambda part: decode(kind, part)
    return lambda scalar: scalar


def _json(name: str, message: Message) -> Json:
    return value_of(getattr(message, name)) if message.HasField(name) else None


def _json_map(name: str, message: Message) -> dict[str, Json]:
    return {key: value_of(text) for key, text in getattr(message, name).items()}


def _value_name(message: Message, name: str) -> str:
    return _name_of(message, name, getattr(message, name))


def _value_names(message: Message, name: str) -> list[str]:
    return [_name_of(message, name, number) for number in getattr(message, name)]


def _name_of(message: Message, name: str, number: int) -> str:
    kind = message.DESCRIPTOR.fields_by_name[name].enum_type
    assert kind is not None  # noqa: S101 - the dataclass says that it is one
    value = kind.values_by_number.get(number)
    prefix = f"{kind.values_by_number[0].name.removesuffix('UNSPECIFIED')}"
    return value.name.removeprefix(prefix) if value else "UNSPECIFIED"


def _refusal(refusal: Any) -> Refusal:  # noqa: ANN401 - a proto Refusal
    return Refusal(
        _value_name(refusal, "reason"),
        _value_name(refusal, "code"),
        refusal.message,
        dict(refusal.metadata),
    )


def _step_spec(spec: Any) -> StepSpec:  # noqa: ANN401 - a proto StepSpec
    policy = spec.retry_policy
    return StepSpec(
        spec.step_name,
        tuple(spec.depends_on),
        spec.handler,
        _json("input_json", spec),
        Retry(
            policy.max_attempts or _NOT_SET.max_attempts,
            policy.initial_backoff.ToTimedelta(),
            policy.backoff_multiplier or _NOT_SET.backoff_multiplier,
            policy.max_backoff.ToTimedelta(),
        ),
        spec.timeout.ToTimedelta(),
        # Unset is RETRY; what is none of ours, of a newer server, is not to be taken for it.
        IfInDoubt(_value_name(spec, "if_in_doubt")) if spec.if_in_doubt else IfInDoubt.RETRY,
    )


def _batch_operation(operation: Any) -> batches.BatchOperation:  # noqa: ANN401 - a proto BatchOperation
    kind = operation.WhichOneof("operation")
    if kind == "retry_step":
        found = operation.retry_step
        is_set = found.HasField("max_attempts")
        other: Any = _json("input_json", found) if found.WhichOneof("input_kind") else batches.SAME
        attempts = found.max_attempts if is_set else None
        return batches.RetryStep(attempts, found.accept_in_doubt, other)
    if kind == "restart":
        found = operation.restart
        payload: Any = (
            _json("payload_json", found) if found.WhichOneof("payload_kind") else batches.SAME
        )
        return batches.Restart(payload, _value_name(found, "if_running"), found.accept_in_doubt)
    if kind == "rerun":
        found = operation.rerun
        return batches.Rerun(
            tuple(found.force_rerun),
            tuple(found.preserve),
            found.include_downstream,
            _value_name(found, "if_running"),
            found.accept_in_doubt,
        )
    if kind == "complete_step":
        found = operation.complete_step
        result: Any = batches.SAME if found.skip else _json("result_json", found)
        return batches.CompleteStep(result, found.skip, found.fence)
    if kind == "fail_step":
        return batches.FailStep(operation.fail_step.message, operation.fail_step.fence)
    return batches.CancelExecution() if kind == "cancel_execution" else batches.BatchOperation()


def _selection(selection: Any) -> ExecutionSelection:  # noqa: ANN401 - a proto ExecutionSelection
    chosen = selection.filter if selection.HasField("filter") else None
    return ExecutionSelection(
        tuple(selection.execution_ids.execution_ids),
        selection.everything,
        None if chosen is None else MessageToDict(chosen, preserving_proto_field_name=True),
    )


def _plan_kind(kind: Any) -> BatchPlanKind:  # noqa: ANN401 - a proto BatchPlanKind
    why = _value_name(kind, "refused_for") if kind.refused_for else ""
    return BatchPlanKind(why, kind.items, tuple(kind.sample_execution_ids))


def lacks_result(run: Any) -> bool:  # noqa: ANN401 - a proto Run
    """Return whether an answer has left out the result of a run that has one."""
    return run.status == RUN_STATUS_COMPLETED and not run.HasField("result_json")


_DERIVED: Mapping[tuple[Any, str], Reader] = {(Run, "result_omitted"): lacks_result}
_SPECIAL: Mapping[Any, Reader] = {
    StepSpec: _step_spec,
    Refusal: _refusal,
    batches.BatchOperation: _batch_operation,
    ExecutionSelection: _selection,
    BatchPlanKind: _plan_kind,
}
