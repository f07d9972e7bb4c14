"""Reads the runs of an execution, by number."""

from __future__ import annotations

from zart_server.domain.commands import Page
from zart_server.domain.errors import ExecutionNotFound
from zart_server.domain.model import Run, RunStatus, RunTrigger
from zart_server.store.connection import Tx
from zart_server.store.reads.run_texts import RunToShow, read_run_texts


async def list_runs(
    tx: Tx, execution_id: str, cursor: tuple[int | str, ...] | None, limit: int
) -> Page[Run]:
    """List the runs of an execution by run_number; the page ends early at 8 MiB.

    ``tx`` is to be a snapshot.
    """
    found = await tx.fetchval(
        "SELECT execution_key FROM zart.executions WHERE execution_id = $1", execution_id
    )
    if found is None:
        raise ExecutionNotFound(execution_id)
    rows = await tx.fetch(
        'SELECT r.run_key, r.run_number, r.status, r."trigger", r.triggered_by, r.principal,'
        " r.reason, r.definition_key,"
        " (SELECT version FROM zart.definitions d"
        "  WHERE d.definition_key = r.definition_key OFFSET 0) AS version,"
        " r.source_run_number, r.error, r.created_at, r.started_at, r.completed_at,"
        " octet_length(r.error) + octet_length(r.reason) + octet_length(r.triggered_by) AS size"
        " FROM zart.runs r WHERE execution_key = $1 AND run_number > $2::bigint"
        " ORDER BY run_number LIMIT $3",
        found,
        -1 if cursor is None else cursor[0],
        limit + 1,
    )
    wanted = [
        RunToShow(
            row["run_key"],
            row["definition_key"],
            row["status"] == RunStatus.COMPLETED.value,
            row["size"],
        )
        for row in rows[:limit]
    ]
    shown = await read_run_texts(tx, wanted) if wanted else []
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
            payload_json=texts.payload_json,
            result_json=texts.result_json,
        )
        for row, texts in zip(rows, shown, strict=False)  # the page may end before its rows
    )
    cursors = tuple((run.run_number,) for run in runs)
    size = sum(len(of.payload_json or "") + len(of.result_json or "") for of in shown)
    return Page(runs, cursors, cursors[-1] if len(rows) > len(runs) else None, size)
