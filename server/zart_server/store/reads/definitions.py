"""Reads registered task definitions."""

from __future__ import annotations

import asyncpg

from zart_server.domain.commands import Page
from zart_server.domain.errors import TaskDefinitionNotFound
from zart_server.domain.graph import from_json
from zart_server.domain.model import TaskDefinition
from zart_server.store.connection import Connection
from zart_server.store.heavy_rows import PAGE_BYTES


async def list_task_definitions(
    connection: Connection, cursor: tuple[int | str, ...] | None, limit: int
) -> Page[TaskDefinition]:
    """List the current definitions by task_name; the page ends early at 8 MiB."""
    rows = await connection.fetch(
        """
        SELECT d.task_name, d.version, n.last_asked_at, d.created_at,
            CASE WHEN bytes <= $3 OR rank = 1 THEN d.steps END AS steps
        FROM (
            SELECT n.*, row_number() OVER (ORDER BY task_name) AS rank,
                sum(d.size) OVER (ORDER BY task_name) AS bytes
            FROM (SELECT * FROM zart.task_names WHERE definition_key IS NOT NULL AND task_name > $1
                  ORDER BY task_name LIMIT $2) n
            CROSS JOIN LATERAL (
                SELECT octet_length(steps::text) AS size FROM zart.definitions
                WHERE definitions.definition_key = n.definition_key OFFSET 0) d
        ) n CROSS JOIN LATERAL (
            SELECT * FROM zart.definitions
            WHERE definitions.definition_key = n.definition_key OFFSET 0) d
        ORDER BY d.task_name
        """,
        "" if cursor is None else cursor[0],
        limit + 1,
        PAGE_BYTES,
    )
    shown = [row for row in rows[:limit] if row["steps"] is not None]
    size = sum(len(row["steps"]) for row in shown)
    definitions = await connection.aside(size, lambda: tuple(map(_of_row, shown)))
    cursors = tuple((row["task_name"],) for row in shown)
    return Page(definitions, cursors, cursors[-1] if len(rows) > len(shown) else None, size)


async def get_task_definition(
    connection: Connection, task_name: str, version: int | None
) -> TaskDefinition:
    """Read one definition of a task; version None: the current one."""
    row = await connection.fetchrow(
        """
        SELECT d.task_name, d.version, d.steps, n.last_asked_at, d.created_at
        FROM zart.task_names n CROSS JOIN LATERAL (
            SELECT * FROM zart.definitions
            WHERE definitions.definition_key = CASE WHEN $2::integer IS NULL THEN n.definition_key
                ELSE (SELECT v.definition_key FROM zart.definitions v
                      WHERE v.task_name = n.task_name AND v.version = $2 AND v.version > 0) END
            OFFSET 0) d
        WHERE n.task_name = $1
        """,
        task_name,
        version,
    )
    if row is None:
        raise TaskDefinitionNotFound(task_name, version)
    return await connection.aside(len(row["steps"]), _of_row, row)


def _of_row(row: asyncpg.Record) -> TaskDefinition:
    return TaskDefinition(
        row["task_name"],
        row["version"],
        from_json(row["steps"]),
        row["last_asked_at"],
        row["created_at"],
    )
