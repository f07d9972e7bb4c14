"""Reads executions: one with a run and its steps, or a page of them, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, text

from zart_server.domain.commands import ExecutionView, ListExecutions, Page
from zart_server.domain.errors import ExecutionNotFound, RunNotFound, StepNotFound
from zart_server.domain.model import Execution, Run, RunStatus, RunTrigger, Step, StepStatus
from zart_server.store.db import Tx
from zart_server.store.reads.results import run_result
from zart_server.store.reads.steps import RunPlace, read_steps
from zart_server.store.reads.waiting import execution_waits
from zart_server.store.tables import executions, held, leases, queue, runs, steps

Cursor = tuple[int | str, ...] | None

_RUN = """
    SELECT e.execution_id, e.task_name, e.created_at AS execution_created_at,
        c.run_number AS current_run_number, c.status AS current_status, c.run_key AS current_key,
        r.run_key, r.run_number, r.status, r."trigger", r.triggered_by, r.principal,
        r.reason, r.definition_key, r.source_run_number, r.error,
        COALESCE(r.payload, p.payload) AS payload, r.created_at, r.started_at, r.completed_at
    FROM zart.executions e
    JOIN zart.runs c ON c.execution_key = e.execution_key AND c.is_current
    LEFT JOIN zart.runs r ON r.execution_key = e.execution_key
        AND r.run_number = COALESCE($2, c.run_number)
    LEFT JOIN zart.runs p ON p.run_key = r.payload_run_key
    WHERE e.execution_id = $1
"""


async def locate_run(
    tx: Tx, execution_id: str, run_number: int | None
) -> tuple[Execution, Run, RunPlace]:
    """Read an execution and one run of it (None: the current one), with its payload."""
    row = await tx.fetchrow(_RUN, execution_id, run_number)
    if row is None:
        raise ExecutionNotFound(execution_id)
    if row["run_key"] is None:
        raise RunNotFound(execution_id, run_number or 0)
    definition = await tx.definitions.one(tx, row["definition_key"])
    place = RunPlace(row["run_key"], execution_id, row["task_name"], definition)
    waits = await execution_waits(tx, [row["current_key"]])
    execution = Execution(
        execution_id,
        row["task_name"],
        row["current_run_number"],
        RunStatus(row["current_status"]),
        row["execution_created_at"],
        waits.get(row["current_key"], ""),
    )
    run = Run(
        execution_id=execution_id,
        run_number=row["run_number"],
        status=RunStatus(row["status"]),
        trigger=RunTrigger(row["trigger"]),
        triggered_by=row["triggered_by"],
        principal=row["principal"],
        reason=row["reason"],
        definition_version=definition.version,
        source_run_number=row["source_run_number"],
        error=row["error"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        payload_json=row["payload"],
        result_json=await run_result(tx, place) if row["status"] == "completed" else None,
    )
    return execution, run, place


async def get_execution(tx: Tx, execution_id: str, run_number: int | None) -> ExecutionView:
    """Read an execution, a run (None: the current one) and its steps, as of one moment.

    ``tx`` is to be a snapshot. Results are left out past 4 MiB together.
    """
    execution, run, place = await locate_run(tx, execution_id, run_number)
    return ExecutionView(execution, run, tuple(await read_steps(tx, place)))


async def get_step(tx: Tx, execution_id: str, step_name: str, run_number: int | None) -> Step:
    """Read one step with its result, whatever its size."""
    _, run, place = await locate_run(tx, execution_id, run_number)
    number = place.definition.graph.index.get(step_name)
    if number is None:
        raise StepNotFound(run.run_id, step_name)
    return (await read_steps(tx, place, [number], result_bytes=1 << 30))[0]


async def list_executions(
    tx: Tx, wanted: ListExecutions, cursor: Cursor, limit: int
) -> Page[Execution]:
    """List executions, newest first, with what the unfinished ones wait for."""
    rows = await tx.select(_list_statement(wanted, cursor, limit))
    page = rows[:limit]
    waits = await execution_waits(tx, [row["run_key"] for row in page])
    return Page(
        tuple(
            Execution(
                row["execution_id"],
                row["task_name"],
                row["run_number"],
                RunStatus(row["status"]),
                row["created_at"],
                waits.get(row["run_key"], ""),
            )
            for row in page
        ),
        (page[-1]["execution_key"],) if len(rows) > limit else None,
    )


def _list_statement(wanted: ListExecutions, cursor: Cursor, limit: int) -> Select[Any]:
    e, r = executions.c, runs.c
    statement = (
        select(
            e.execution_key,
            e.execution_id,
            e.task_name,
            e.created_at,
            r.run_key,
            r.run_number,
            r.status,
        )
        .join(runs, and_(r.execution_key == e.execution_key, r.is_current))
        .order_by(e.execution_key.desc())
        .limit(limit + 1)
    )
    if cursor is not None:
        # On both sides, so that whichever index the planner reads starts at the cursor.
        statement = statement.where(e.execution_key < cursor[0], r.execution_key < cursor[0])
    if wanted.task_name:
        statement = statement.where(e.task_name == wanted.task_name)
    if wanted.statuses:
        statement = statement.where(r.status.in_([status.value for status in wanted.statuses]))
    if wanted.step_statuses:
        statement = statement.where(or_(*(_has_step(status) for status in wanted.step_statuses)))
    if wanted.created_after is not None:
        statement = statement.where(e.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        statement = statement.where(e.created_at < wanted.created_before)
    return statement


def _has_step(status: StepStatus) -> ColumnElement[bool]:
    """Say that the current run has a step in this state.

    The run statuses in which such a step can be are said too, for the sake of their indexes.
    """
    of_run = runs.c.run_key
    is_open = runs.c.status.in_(["scheduled", "running"])
    pausing = func.zart.pausing_rule
    match status:
        case StepStatus.DEAD:
            return runs.c.dead_steps > 0
        case StepStatus.RUNNING:
            return and_(is_open, exists().where(leases.c.run_key == of_run))
        case StepStatus.SCHEDULED | StepStatus.PAUSED:
            matched = [
                exists().where(
                    table.c.run_key == of_run,
                    pausing(executions.c.execution_id, executions.c.task_name, table.c.step_name)
                    .is_not(None)
                    .is_(status is StepStatus.PAUSED),
                )
                for table in (queue, held)
            ]
            return and_(is_open, or_(*matched))
        case StepStatus.PENDING:
            return and_(
                runs.c.status.in_(["scheduled", "running", "failed"]),
                exists().where(
                    steps.c.run_key == of_run,
                    steps.c.status == "open",
                    *(
                        ~exists().where(
                            table.c.run_key == steps.c.run_key, table.c.step_no == steps.c.step_no
                        )
                        for table in (queue, held, leases)
                    ),
                ),
            )
        case StepStatus.CANCELLED:
            return and_(
                runs.c.status == "cancelled",
                exists().where(steps.c.run_key == of_run, steps.c.status == "cancelled"),
            )
        case StepStatus.COMPLETED:
            return exists().where(steps.c.run_key == of_run, steps.c.status == text("'completed'"))


async def find_executions(tx: Tx, execution_ids: Sequence[str]) -> dict[str, Execution]:
    """Give executions by id, as they are now; unknown ids are missing."""
    rows = await tx.fetch(
        "SELECT e.execution_id, e.task_name, r.run_number, r.status, e.created_at"
        " FROM zart.executions e JOIN zart.runs r USING (execution_key)"
        " WHERE e.execution_id = ANY($1::text[]) AND r.is_current",
        execution_ids,
    )
    return {
        row["execution_id"]: Execution(
            row["execution_id"],
            row["task_name"],
            row["run_number"],
            RunStatus(row["status"]),
            row["created_at"],
        )
        for row in rows
    }


async def execution_key_of(tx: Tx, execution_id: str) -> int:
    """Give the key of an execution. Raises ExecutionNotFound."""
    key: int | None = await tx.fetchval(
        "SELECT execution_key FROM zart.executions WHERE execution_id = $1", execution_id
    )
    if key is None:
        raise ExecutionNotFound(execution_id)
    return key
