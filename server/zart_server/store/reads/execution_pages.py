"""Lists executions, a page at a time, newest first."""

from __future__ import annotations

from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, text

from zart_server.domain.commands import ListExecutions, Page
from zart_server.domain.model import Execution, RunStatus, StepStatus
from zart_server.store.db import Tx
from zart_server.store.reads.dead_steps import read_dead_steps
from zart_server.store.reads.waiting import execution_waits
from zart_server.store.tables import executions, held, leases, queue, runs, steps

Cursor: TypeAlias = tuple[int | str, ...] | None


async def list_executions(
    tx: Tx, wanted: ListExecutions, cursor: Cursor, limit: int
) -> Page[Execution]:
    """List executions, newest first, with what they wait for and which steps are dead."""
    rows = await tx.select(_list_statement(wanted, cursor, limit))
    page = rows[:limit]
    run_keys = [row["run_key"] for row in page]
    waits = await execution_waits(tx, run_keys)
    dead = await read_dead_steps(tx, run_keys)
    return Page(
        tuple(
            Execution(
                row["execution_id"],
                row["task_name"],
                row["run_number"],
                RunStatus(row["status"]),
                row["created_at"],
                waits.get(row["run_key"], ""),
                dead.get(row["run_key"], ()),
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
