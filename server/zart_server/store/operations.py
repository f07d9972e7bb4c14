"""The operations record: one row for each mutation, in the mutation's own transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any, NamedTuple

from zart_server.domain.commands import Caller
from zart_server.domain.model import (
    FencedStep,
    PauseRule,
    RunStatus,
    StepError,
    StepStatus,
)
from zart_server.domain.operations import Made, OperationKind, Replaced
from zart_server.domain.step_resolution import StepResolution
from zart_server.store.connection import Tx
from zart_server.store.statement import Statement


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


def recorded(source: str, kind: str, *, after_locks: bool = False) -> str:
    """Return the statement that records operations of a kind (a parameter), as part of another one.

    They are those of ``source``, which has at least the columns of ``RECORD``. They are as old as
    the whole statement; ``after_locks``: as the source, which waits for locks before.
    """
    column, moment = (", created_at", ", clock_timestamp()") if after_locks else ("", "")
    return f"""
        INSERT INTO zart.operations (kind, execution_id, run_number, step_name, rule_id, task_name,
            triggered_by, principal, reason, request_id, incident, batch_id, replaced, made{column})
        SELECT {kind}::text, execution_id, run_number, step_name, rule_id, task_name,
            triggered_by, principal, reason, request_id, incident, COALESCE(batch_id, ''),
            replaced, made{moment}
        FROM {source}
    """


# How a JSON array of operations is read.
RECORD = """execution_id text, run_number integer, step_name text, rule_id text, task_name text,
    triggered_by text, principal text, reason text, request_id text, incident text,
    batch_id text, replaced json, made json"""


def record_of(operation: NewOperation) -> dict[str, object]:
    """Return an operation as the database takes it: one text for all costs less than arrays."""
    caller = operation.caller
    return {
        "execution_id": operation.execution_id,
        "run_number": operation.run_number,
        "step_name": operation.step_name,
        "rule_id": operation.rule_id,
        "task_name": operation.task_name,
        "triggered_by": caller.triggered_by,
        "principal": caller.principal,
        "reason": caller.reason,
        "request_id": caller.request_id,
        "incident": caller.incident,
        **({"batch_id": caller.batch_id} if caller.batch_id else {}),
        "replaced": _values(operation.replaced),
        "made": _values(operation.made),
    }


def to_text(records: Sequence[Mapping[str, object]]) -> str:
    """Return the JSON text of records."""
    return json.dumps(records, default=_encode, ensure_ascii=False)


_RECORD = Statement(recorded(f"json_to_recordset(:records::text::json) u({RECORD})", ":kind"))


async def record_operations(
    tx: Tx, kind: OperationKind, operations: Sequence[NewOperation]
) -> None:
    """Record what mutations did; they are on record if and only if the mutations commit."""
    records = to_text([record_of(operation) for operation in operations])
    await tx.execute(_RECORD.text, *_RECORD.arguments(kind=kind.value, records=records))


async def record_deleted_rules(
    tx: Tx,
    kind: OperationKind,
    caller: Caller,
    rules: Sequence[PauseRule],
    *,
    made: Made | None = None,
    replaced: Replaced | None = None,
) -> None:
    """Record what was done to rules, one operation for each."""
    operations = [of_rule(rule, caller, made=made, replaced=replaced) for rule in rules]
    await record_operations(tx, kind, operations)


def of_rule(
    rule: PauseRule, caller: Caller, *, made: Made | None = None, replaced: Replaced | None = None
) -> NewOperation:
    """Return what is recorded of a rule to which something was done.

    It belongs to the caller's incident; where that is none, as of what happens by itself, to the
    rule's.
    """
    return NewOperation(
        replace(caller, incident=caller.incident or rule.incident),
        execution_id=rule.scope.execution_id or "",
        rule_id=rule.rule_id,
        task_name=rule.scope.task_name or "",
        replaced=replaced,
        made=made,
    )


def _values(record: Replaced | Made | None) -> dict[str, object] | None:
    if record is None:
        return None
    values = {}
    for name in _FIELDS[type(record)]:
        value = getattr(record, name)
        if value not in (None, "", (), 0) or (name in _TELLING_0 and value is not None):
            values[name] = value
    return values


_TELLING_0 = {"run_number", "is_exempt"}  # run number 0 is a run too
_FIELDS = {kind: [field.name for field in fields(kind)] for kind in (Replaced, Made)}


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
        rate_per_second=values.get("rate_per_second", 0.0),
    )


def made_from_json(text: str | None) -> Made:
    """Read what an operation made."""
    values: dict[str, Any] = json.loads(text) if text else {}
    for key in ("effective_rerun", "preserved", "corrected_input_steps"):
        values[key] = tuple(values.get(key, ()))
    for key in ("expires_at", "ended_before"):
        if key in values:
            values[key] = datetime.fromisoformat(values[key])
    if "resolution" in values:
        values["resolution"] = StepResolution(values["resolution"])
    # A newer server may have made more.
    return Made(**{name: value for name, value in values.items() if name in _FIELDS[Made]})
