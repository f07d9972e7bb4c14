"""Finds executions that ended long ago, by the index that lists of a task are read by.

An execution began before it ended: so all that ended before a time are among those that began
before it, and no index by the time of their end is needed, which every end would pay for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.ended_cursor import Position
from zart_server.domain.model import RunStatus
from zart_server.store.connection import Connection
from zart_server.store.statement import Statement

FINISHED = tuple(status for status in RunStatus if status.is_finished)


class Looked(NamedTuple):
    """An execution that was looked at. ``overdue``: seconds since it may go; below 0: it stays."""

    status: RunStatus
    position: Position
    overdue: float


async def next_task(connection: Connection, after: str) -> str | None:
    """Return the first task by name, after this one, that has executions."""
    found: str | None = await connection.fetchval(
        "SELECT listed_task FROM zart.runs WHERE is_current"
        " AND (listed_task, status, listed_at, execution_key) > ($1::text, 'z', 'infinity', 0)"
        " ORDER BY listed_task, status, listed_at, execution_key LIMIT 1",
        after,
    )
    return found


_FIND = Statement(
    """
    SELECT r.status, r.listed_at, r.execution_key,
        EXTRACT(epoch FROM :ended_before::timestamptz - r.completed_at)::float8
    FROM unnest(:statuses::text[], :times::timestamptz[], :keys::bigint[])
        s(status, since, since_key)
    CROSS JOIN LATERAL (
        SELECT status, listed_at, execution_key, completed_at FROM zart.runs
        WHERE is_current AND (listed_task, status, listed_at, execution_key)
              > (:task_name::text, s.status, s.since, s.since_key)
          AND (listed_task, status, listed_at, execution_key)
              < (:task_name, s.status, :ended_before, 0)
        ORDER BY listed_task, status, listed_at, execution_key LIMIT :limit::bigint) r
    """
)


async def find_ended(
    connection: Connection,
    task_name: str,
    after: Mapping[RunStatus, Position],
    ended_before: datetime,
    limit: int,
) -> Sequence[Looked]:
    """Return, of each status, the next executions of a task that may have ended before a time."""
    rows = await connection.fetch(
        _FIND.text,
        *_FIND.arguments(
            task_name=task_name,
            statuses=[status.value for status in after],
            times=[position.created_at for position in after.values()],
            keys=[position.execution_key for position in after.values()],
            ended_before=ended_before,
            limit=limit,
        ),
    )
    return [Looked(RunStatus(row[0]), Position(row[1], row[2]), row[3]) for row in rows]


def next_positions(
    after: Mapping[RunStatus, Position], looked: Sequence[Looked], limit: int
) -> dict[RunStatus, Position]:
    """Return where to go on, for those statuses of which there may be more."""
    counts = Counter(one.status for one in looked)
    last = {one.status: one.position for one in looked}
    return {status: last[status] for status in after if counts[status] == limit}


async def execution_id_of(connection: Connection, execution_key: int) -> str | None:
    """Return how callers name an execution that was looked at; None: it is gone."""
    found: str | None = await connection.fetchval(
        "SELECT execution_id FROM zart.executions WHERE execution_key = $1", execution_key
    )
    return found
