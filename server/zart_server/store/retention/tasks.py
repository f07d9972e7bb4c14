"""For how long finished executions are kept by task, where that is set."""

from __future__ import annotations

from datetime import datetime, timedelta

from zart_server.domain.commands import Caller, Page
from zart_server.domain.retention import TaskRetention
from zart_server.store.connection import Connection, Tx
from zart_server.store.statement import Statement

_COLUMNS = "task_name, keep, set_at, triggered_by, principal, reason, incident"
_SET = Statement(
    f"""
    INSERT INTO zart.task_retention (task_name, keep, triggered_by, principal, reason, incident)
    VALUES (:task_name, :keep::interval, :triggered_by, :principal, :reason, :incident)
    ON CONFLICT (task_name) DO UPDATE SET keep = EXCLUDED.keep, set_at = statement_timestamp(),
        triggered_by = EXCLUDED.triggered_by, principal = EXCLUDED.principal,
        reason = EXCLUDED.reason, incident = EXCLUDED.incident
    RETURNING {_COLUMNS}
    """
)


async def set_task_retention(
    tx: Tx, task_name: str, keep: timedelta | None, caller: Caller
) -> TaskRetention:
    """Set for how long finished executions of a task are kept; None: for ever.

    The caller holds the pass.
    """
    row = await tx.fetchrow(
        _SET.text,
        *_SET.arguments(
            task_name=task_name,
            keep=keep,
            triggered_by=caller.triggered_by,
            principal=caller.principal,
            reason=caller.reason,
            incident=caller.incident,
        ),
    )
    return TaskRetention(*(row or ()))


async def unset_task_retention(tx: Tx, task_name: str) -> TaskRetention | None:
    """Have what the servers are set to hold of a task; return what held before, if anything.

    The caller holds the pass.
    """
    row = await tx.fetchrow(
        f"DELETE FROM zart.task_retention WHERE task_name = $1 RETURNING {_COLUMNS}", task_name
    )
    return None if row is None else TaskRetention(*row)


async def read_kept(connection: Connection) -> tuple[datetime, dict[str, timedelta | None]]:
    """Return the time, and for how long finished executions are kept by task, where that is set."""
    rows = await connection.fetch(
        "SELECT statement_timestamp(), t.task_name, t.keep"
        " FROM (SELECT) one LEFT JOIN zart.task_retention t ON true"
    )
    return rows[0][0], {row[1]: row[2] for row in rows if row[1] is not None}


async def read_kept_of(tx: Tx, task_name: str, kept_else: timedelta | None) -> timedelta | None:
    """Return for how long finished executions of a task are kept; it stays so for this transaction.

    The caller has set the pass, for which whoever sets something else waits.
    """
    row = await tx.fetchrow("SELECT keep FROM zart.task_retention WHERE task_name = $1", task_name)
    return kept_else if row is None else row[0]


_LIST = f"""
    SELECT {_COLUMNS} FROM zart.task_retention WHERE task_name > $1 ORDER BY task_name LIMIT $2
"""


async def list_task_retention(
    connection: Connection, cursor: tuple[int | str, ...] | None, limit: int
) -> Page[TaskRetention]:
    """List what is set by task, by name."""
    after = "" if cursor is None else str(cursor[0])
    found = [TaskRetention(*row) for row in await connection.fetch(_LIST, after, limit + 1)]
    cursors = tuple((one.task_name,) for one in found[:limit])
    return Page(tuple(found[:limit]), cursors, cursors[-1] if len(found) > limit else None)
