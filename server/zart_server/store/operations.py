"""The operations record: one row for each mutation, in the mutation's own transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, NamedTuple

from zart_server.domain.commands import Caller
from zart_server.domain.model import (
    FencedStep,
    Made,
    OperationKind,
    PauseRule,
    Replaced,
    RunStatus,
    StepError,
    StepStatus,
)
from zart_server.store.db import Tx


class NewOperation(NamedTuple):
    """What is recorded of one mutation."""

    caller: Caller
    execution_id: str = ""
    run_number: int | None = None
    step_name: str = ""
    rule_id: str = ""
    task_name: str = ""
    replaced: Replaced | None = None
    made: Made | None = None


def insertion(first: int) -> str:
    """Give the statement that records operations, as part of another one or by itself.

    Its parameters, from number ``first`` on, are ``columns``.
    """
    kind, *rest = (f"${number}" for number in range(first, first + 12))
    types = ("text", "integer", *["text"] * 7, "json", "json")
    arrays = ", ".join(f"{name}::{kind}[]" for name, kind in zip(rest, types, strict=True))
    return f"""
        INSERT INTO zart.operations (kind, execution_id, run_number, step_name, rule_id, task_name,
            triggered_by, principal, reason, request_id, replaced, made)
        SELECT {kind}::text, u.* FROM unnest({arrays}) u
    """


def columns(kind: OperationKind, operations: Iterable[NewOperation]) -> tuple[object, ...]:
    """Give the parameters of ``insertion``."""
    rows = [
        (
            item.execution_id,
            item.run_number,
            item.step_name,
            item.rule_id,
            item.task_name,
            item.caller.triggered_by,
            item.caller.principal,
            item.caller.reason,
            item.caller.request_id,
            _to_json(item.replaced),
            _to_json(item.made),
        )
        for item in operations
    ]
    return kind.value, *zip(*rows, strict=True)


async def record_operations(
    tx: Tx, kind: OperationKind, operations: Sequence[NewOperation]
) -> None:
    """Record what mutations did; they are on record if and only if the mutations commit."""
    await tx.execute(_INSERT, *columns(kind, operations))


_INSERT = insertion(1)


async def record_deleted_rules(
    tx: Tx, kind: OperationKind, caller: Caller, rules: Sequence[PauseRule]
) -> None:
    """Record that rules were deleted, one operation for each."""
    await tx.execute(
        "INSERT INTO zart.operations (kind, execution_id, rule_id, task_name, triggered_by,"
        " principal, reason, request_id)"
        " SELECT $1, e, r, t, $5, $6, $7, $8"
        " FROM unnest($2::text[], $3::text[], $4::text[]) u(e, r, t)",
        kind.value,
        [rule.scope.execution_id or "" for rule in rules],
        [rule.rule_id for rule in rules],
        [rule.scope.task_name or "" for rule in rules],
        caller.triggered_by,
        caller.principal,
        caller.reason,
        caller.request_id,
    )


def _to_json(record: Replaced | Made | None) -> str | None:
    if record is None:
        return None
    values = {}
    for one in fields(record):
        value = getattr(record, one.name)
        # Run number 0 is a run too.
        if value not in (None, "", (), 0) or (one.name == "run_number" and value is not None):
            values[one.name] = value
    return json.dumps(values, default=_encode, ensure_ascii=False)


def _encode(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (FencedStep, StepError)):
        return asdict(value)
    raise TypeError(f"cannot record a {type(value).__name__}")


def replaced_from_json(text: str | None) -> Replaced:
    """Read what stood before an operation."""
    values: Mapping[str, Any] = json.loads(text) if text else {}
    completed_at = values.get("completed_at")
    error = values.get("step_error")
    return Replaced(
        run_number=values.get("run_number"),
        status=RunStatus(values["status"]) if "status" in values else None,
        error=values.get("error", ""),
        completed_at=datetime.fromisoformat(completed_at) if completed_at else None,
        step_status=StepStatus(values["step_status"]) if "step_status" in values else None,
        step_error=StepError(**error) if error else None,
        fenced_steps=tuple(FencedStep(**step) for step in values.get("fenced_steps", ())),
    )


def made_from_json(text: str | None) -> Made:
    """Read what an operation made."""
    values: dict[str, Any] = json.loads(text) if text else {}
    for key in ("effective_rerun", "preserved"):
        values[key] = tuple(values.get(key, ()))
    return Made(**values)
