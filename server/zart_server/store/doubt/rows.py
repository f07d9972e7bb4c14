"""Rows of attempts in doubt, as callers see them."""

from __future__ import annotations

import asyncpg

from zart_server.domain.doubt import Finding, InDoubtAttempt, LateOutcome
from zart_server.domain.model import AttemptStatus
from zart_server.store.leases import error_from_json

COLUMNS = """execution_id, run_number, step_name, attempt, task_name, ended_as, dispatcher_id,
    started_at, ended_at, finding, resolved_at, resolved_by, reason, late_status, late_result,
    late_error, late_received_at, late_omitted"""


def doubt_of(row: asyncpg.Record) -> InDoubtAttempt:
    """Make an attempt of a row that has ``COLUMNS``."""
    late = None
    if row["late_status"] is not None:
        late = LateOutcome(
            AttemptStatus(row["late_status"]),
            row["late_result"],
            error_from_json(row["late_error"]),
            row["late_received_at"],
            row["late_omitted"],
        )
    return InDoubtAttempt(
        execution_id=row["execution_id"],
        run_number=row["run_number"],
        step_name=row["step_name"],
        attempt=row["attempt"],
        task_name=row["task_name"],
        ended_as=AttemptStatus(row["ended_as"]),
        dispatcher_id=row["dispatcher_id"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        finding=None if row["finding"] is None else Finding(row["finding"]),
        resolved_at=row["resolved_at"],
        resolved_by_operation_id=str(row["resolved_by"] or ""),
        reason=row["reason"],
        late_outcome=late,
    )
