"""Reads the runs of an execution, by number."""

from __future__ import annotations

from zart_server.domain.commands import Page
from zart_server.domain.errors import ExecutionNotFound
from zart_server.domain.model import Run, RunStatus, RunTrigger
from zart_server.store.connection import Connection


async def list_runs(
    connection: Connection, execution_id: str, cursor: tuple[int | str, ...] | None, limit: int
) -> Page[Run]:
    """List the runs of an execution by run_number, without payloads and results."""
    found = await connection.fetchval(
        "SELECT execution_key FROM zart.executions WHERE execution_id = $1", execution_id
    )
    if found is None:
        raise ExecutionNotFound(execution_id)
    rows = await connection.fetch(
        'SELECT r.run_number, r.status, r."trigger", r.triggered_by, r.principal, r.reason,'
        " (SELECT version FROM zart.definitions d"
        "  WHERE d.definition_key = r.definition_key OFFSET 0) AS version,"
        " r.source_run_number, r.error, r.created_at, r.started_at, r.completed_at"
        " FROM zart.runs r WHERE execution_key = $1 AND run_number > $2::bigint"
        " ORDER BY run_number LIMIT $3",
        found,
        -1 if cursor is None else cursor[0],
        limit + 1,
    )
    runs = tuple(
        Run(
            execution_id=execution_id,
            run_number=row["run_number"],
            status=RunStatus(row["status"]),
            trigger=RunTrigger(row["trigger"]),
            triggered_by=row["triggered_by"],
            principal=row["principal"],
            reason=row["reason"],
            definition_version=row["version"],
            source_run_number=row["source_run_number"],
            error=row["error"],
            created_at=row["created_at"],
            started_at=row["started_at"],
            completed_at=row["completed_at"],
        )
        for row in rows[:limit]
    )
    cursors = tuple((run.run_number,) for run in runs)
    return Page(runs, cursors, cursors[-1] if len(rows) > limit else None)
