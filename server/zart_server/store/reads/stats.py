"""Reads how much there is: executions by status, and the size of each table."""

from __future__ import annotations

from zart_server.domain.model import RunStatus
from zart_server.domain.stats import Stats, StatusStats, TableStats
from zart_server.store.connection import Connection
from zart_server.store.statement import Statement

MOST = 100_000
_STATUSES = Statement(
    """
    SELECT s.status, (
        SELECT count(*) FROM (
            SELECT FROM zart.runs
            WHERE is_current AND (status, listed_at, execution_key) >= (s.status, '-infinity', 0)
              AND (status, listed_at, execution_key) <= (s.status, 'infinity', 0)
            ORDER BY status, listed_at, execution_key LIMIT :most::bigint) r), (
        SELECT listed_at FROM zart.runs
        WHERE is_current AND (status, listed_at, execution_key) >= (s.status, '-infinity', 0)
          AND (status, listed_at, execution_key) <= (s.status, 'infinity', 0)
        ORDER BY status, listed_at, execution_key LIMIT 1)
    FROM unnest(:statuses::text[]) s(status)
    """
)
_TABLES = """
    SELECT c.relname, c.reltuples::bigint, pg_stat_get_dead_tuples(c.oid),
        pg_total_relation_size(c.oid), pg_indexes_size(c.oid)
    FROM pg_class c WHERE c.relnamespace = 'zart'::regnamespace AND c.relkind = 'r'
    ORDER BY 4 DESC, 1
"""


async def read_stats(connection: Connection, most: int = MOST) -> Stats:
    """Return how much there is; of each status at most so many are counted."""
    statuses = await connection.fetch(
        _STATUSES.text,
        *_STATUSES.arguments(most=most + 1, statuses=[status.value for status in RunStatus]),
    )
    tables = await connection.fetch(_TABLES)
    size = await connection.fetchval("SELECT pg_database_size(current_database())")
    oldest = await connection.fetchval(
        "SELECT created_at FROM zart.operations WHERE operation_key > 0"
        " ORDER BY operation_key LIMIT 1"
    )
    return Stats(
        tuple(
            StatusStats(RunStatus(row[0]), min(row[1], most), row[1] > most, row[2])
            for row in statuses
        ),
        tuple(TableStats(*row) for row in tables),
        size,
        oldest,
    )
