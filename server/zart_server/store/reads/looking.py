"""Looks at runs of a list in their order, whether each fits, until there are enough for a page."""

from __future__ import annotations

from zart_server.store.connection import Connection
from zart_server.store.reads.dead_groups import OF_GROUPS
from zart_server.store.reads.fitting import FITS, WORK
from zart_server.store.reads.listed_by_steps import OF_KEYS, FoundRuns
from zart_server.store.reads.listed_runs import (
    CURRENT,
    DEAD,
    Listed,
    ListPosition,
    Range,
    by_status,
)
from zart_server.store.statement import Statement

MOST_RUNS = 1_000  # that are looked at for a page


def _looking(
    source: str, condition: str = FITS, order: str = "listed_at DESC, execution_key DESC"
) -> Statement:
    """Return the query for the first runs of a source, and whether each fits."""
    return Statement(f"""
        WITH candidates AS MATERIALIZED ({source}), settling AS MATERIALIZED (
            SELECT {WORK.format("settle")} AS yes
        )
        SELECT listed_at, execution_key, run_key, {condition}
        FROM candidates c ORDER BY {order}
    """)


# The current runs of the executions of a batch, by their keys alone: those are given out as
# executions begin, and no index has the order of lists. An execution of several items is there
# several times; one that is removed by now has no run, and counts as looked at all the same.
_OF_BATCH = """
    SELECT r.listed_at, i.execution_key, r.run_key, r.listed_task,
        r.status = ANY(:statuses::text[])
            AND (:task_name::text = '' OR r.listed_task = :task_name)
            AND r.listed_at < :before::timestamptz
            AND r.listed_at >= :created_from::timestamptz AS is_wanted
    FROM (
        SELECT execution_key FROM zart.batch_items
        WHERE batch_key = :batch_key::bigint AND execution_key < :before_key::bigint
        ORDER BY execution_key DESC LIMIT :limit::bigint) i
    LEFT JOIN LATERAL (
        SELECT run_key, listed_at, listed_task, status FROM zart.runs
        WHERE runs.execution_key = i.execution_key
        ORDER BY run_number DESC LIMIT 1) r ON true
"""
# Those of few runs, in the same order.
_OF_KEYS_BY_KEY = """
    SELECT r.listed_at, r.execution_key, r.run_key, r.listed_task
    FROM unnest(:run_keys::bigint[]) u(run_key) CROSS JOIN LATERAL (
        SELECT * FROM zart.runs WHERE runs.run_key = u.run_key OFFSET 0) r
    WHERE r.is_current AND r.status = ANY(:statuses::text[])
      AND (:task_name::text = '' OR r.listed_task = :task_name)
      AND r.execution_key < :before_key::bigint AND r.listed_at < :before::timestamptz
      AND r.listed_at >= :created_from::timestamptz
    ORDER BY r.execution_key DESC LIMIT :limit::bigint
"""
OF_BATCH = "of a batch"
OF_KEYS_BY_KEY = "of keys by key"
_BY_KEY = "execution_key DESC"


_LOOK = {
    f"{which} {of}": _looking(by_status(where, of_task=of == "of a task"))
    for which, where in (("current", CURRENT), ("with dead steps", DEAD))
    for of in ("of all tasks", "of a task")
} | {
    "of keys": _looking(OF_KEYS),
    "of groups": _looking(OF_GROUPS, f"is_wanted AND {FITS}"),
    OF_BATCH: _looking(_OF_BATCH, f"is_wanted AND {FITS}", _BY_KEY),
    OF_KEYS_BY_KEY: _looking(_OF_KEYS_BY_KEY, order=_BY_KEY),
}


async def look_at(
    connection: Connection,
    part: Range,
    limit: int,
    source: str,
    sought: dict[str, object],
    most: int,
) -> FoundRuns:
    """Look at the runs of a range until there are enough, at few ones first.

    Those of a batch are in the order of their executions' keys; of where the range begins only the
    key counts then.
    """
    statement = _LOOK[source]
    runs: dict[int, Listed] = {}
    until: ListPosition | None = None
    for count in (2 * limit, max(most, 2 * limit)):
        rest = part if until is None else part._replace(before=until)
        values = rest.arguments(count) | sought
        rows = await connection.fetch(statement.text, *statement.arguments(**values))
        runs |= {row[2]: Listed(ListPosition(row[0], row[1]), row[2]) for row in rows if row[3]}
        if len(rows) < count:
            return FoundRuns(list(runs.values())[:limit])
        is_by_key = source in {OF_BATCH, OF_KEYS_BY_KEY}
        last = part.before.created_at if is_by_key else rows[-1][0]
        until = ListPosition(last, rows[-1][1])
        if len(runs) >= limit:
            break
    return FoundRuns(list(runs.values())[:limit], until)
