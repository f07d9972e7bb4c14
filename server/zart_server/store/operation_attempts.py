"""Attempts at operations that were refused or only planned, apart from the operations done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import NamedTuple

from zart_server.domain.commands import Caller
from zart_server.domain.operations import OperationKind, OperationStatus, Refusal
from zart_server.store.connection import Connection
from zart_server.store.operations import to_text
from zart_server.store.statement import Statement


class OperationAttempt(NamedTuple):
    """What is recorded of one. ``refusal`` None: it was planned."""

    status: OperationStatus
    kind: OperationKind
    caller: Caller
    execution_id: str = ""
    run_number: int | None = None
    step_name: str = ""
    rule_id: str = ""
    task_name: str = ""
    batch_id: str = ""
    breaker_id: str = ""
    refusal: Refusal | None = None


_COLUMNS = """status, kind, execution_id, run_number, step_name, rule_id, task_name, batch_id,
    breaker_id, incident, triggered_by, principal, reason, request_id, refusal"""
# What is about a rule or a batch belongs to its incident where none is given, as what was done.
_OF_INCIDENT = """COALESCE(NULLIF(u.incident, ''),
    NULLIF((SELECT r.incident FROM zart.pause_rules r WHERE r.rule_id = u.rule_id), ''),
    (SELECT b.incident FROM zart.batches b WHERE b.batch_id = u.batch_id), '')"""
_INSERT = Statement(
    f"""
    INSERT INTO zart.operation_attempts ({_COLUMNS})
    SELECT {_COLUMNS.replace("incident", _OF_INCIDENT)}
    FROM json_to_recordset(:attempts::text::json) u(status text, kind text,
        execution_id text, run_number integer, step_name text, rule_id text, task_name text,
        batch_id text, breaker_id text, incident text, triggered_by text, principal text,
        reason text, request_id text, refusal json)
    """
)


async def record_attempts(connection: Connection, attempts: Sequence[OperationAttempt]) -> None:
    """Record attempts. Locks nothing that anybody waits for."""
    rows = []
    for attempt in attempts:
        values = asdict(attempt.caller) | attempt._asdict()
        values["batch_id"] = attempt.batch_id or attempt.caller.batch_id
        values["refusal"] = None if attempt.refusal is None else asdict(attempt.refusal)
        del values["caller"]
        rows.append(values)
    await connection.execute(_INSERT.text, *_INSERT.arguments(attempts=to_text(rows)))
