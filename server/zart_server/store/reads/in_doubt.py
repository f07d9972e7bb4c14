"""Lists the attempts that are in doubt, newest first.

A page looks at so many of them and no more, by one of the indexes of what is unresolved; whatever
else is asked for is looked for among these, so that a page may be short.
"""

from __future__ import annotations

from zart_server.domain.commands import Page
from zart_server.domain.doubt import InDoubtAttempt
from zart_server.domain.filters import ExecutionFilter
from zart_server.domain.globs import to_regex
from zart_server.store.connection import Connection
from zart_server.store.doubt.rows import COLUMNS, doubt_of
from zart_server.store.heavy_rows import PAGE_BYTES, first_of
from zart_server.store.reads.dead_groups import expect_group
from zart_server.store.reads.few_runs import batch_key_of
from zart_server.store.reads.fitting import CONTAINS, PLAIN, plain_arguments
from zart_server.store.statement import Statement

_LOOKED_AT = 2_000
_LAST = "\U0010ffff"  # after every other character
# What a dispatcher told too late has up to 64 KiB.
_SIZE = """COALESCE(octet_length(late_result::text), 0)
    + COALESCE(octet_length(late_error::text), 0)"""

# What is looked at, by index. Of executions only a few: they have no order by time together.
_LOOKED = {
    "of all": """
        SELECT * FROM zart.in_doubt WHERE resolved_at IS NULL AND in_doubt_key < :before::bigint
        ORDER BY in_doubt_key DESC LIMIT :looked::bigint
    """,
    "of a task": """
        SELECT * FROM zart.in_doubt WHERE resolved_at IS NULL
          AND (task_name, in_doubt_key) < (:task_name::text, :before::bigint)
          AND (task_name, in_doubt_key) >= (:task_name, 0)
        ORDER BY task_name DESC, in_doubt_key DESC LIMIT :looked::bigint
    """,
    "of few executions": """
        SELECT * FROM (
            SELECT * FROM zart.in_doubt WHERE resolved_at IS NULL
              AND execution_id >= :prefix::text AND execution_id < :prefix || :last::text
            ORDER BY execution_id, in_doubt_key LIMIT :looked::bigint) f
        WHERE in_doubt_key < :before::bigint
    """,
}


_OF_GROUP = """CASE WHEN :error_group_id::text = '' THEN true ELSE EXISTS (
        SELECT FROM (
            SELECT group_key FROM zart.dead_steps
            WHERE dead_steps.run_key = d.run_key AND dead_steps.step_no = d.step_no OFFSET 0) x
        CROSS JOIN LATERAL (
            SELECT error_group_id, former_id FROM zart.error_groups
            WHERE group_key = x.group_key OFFSET 0) g
        WHERE :error_group_id IN (g.error_group_id, g.former_id)) END"""


def _list(looked: str) -> Statement:
    return Statement(
        f"""
        WITH looked AS MATERIALIZED ({looked}), found AS (
            SELECT {COLUMNS}, in_doubt_key FROM looked d
            WHERE (:task_name::text = '' OR task_name = :task_name)
              AND starts_with(execution_id, :prefix::text)
              AND (:step_regex::text = '' OR step_name ~ :step_regex)
              AND (:ended_after::timestamptz IS NULL OR ended_at >= :ended_after)
              AND (:ended_before::timestamptz IS NULL OR ended_at < :ended_before)
              AND (cardinality(:step_statuses::text[]) = 0 OR (
                  SELECT status FROM zart.steps
                  WHERE steps.run_key = d.run_key AND steps.step_no = d.step_no
                  ) = ANY(:step_statuses))
              AND {CONTAINS.format("d")} AND {_OF_GROUP}
              AND (NOT :of_executions::boolean OR (
                  SELECT {PLAIN}
                      AND (:created_after::timestamptz IS NULL OR c.listed_at >= :created_after)
                      AND (:created_before::timestamptz IS NULL OR c.listed_at < :created_before)
                      AND (cardinality(:statuses::text[]) = 0 OR c.status = ANY(:statuses))
                  FROM (SELECT execution_key FROM zart.runs
                        WHERE runs.run_key = d.run_key OFFSET 0) r
                  CROSS JOIN LATERAL (SELECT execution_key, listed_at, status FROM zart.runs
                      WHERE runs.execution_key = r.execution_key
                      ORDER BY run_number DESC LIMIT 1) c))
            ORDER BY in_doubt_key DESC LIMIT :limit::bigint
        )
        -- One row at least. `until`: the last that was looked at, if others may follow.
        SELECT f.*, n, until FROM (
            SELECT count(*) AS n,
                CASE WHEN count(*) = :looked THEN min(in_doubt_key) END AS until
            FROM looked) l LEFT JOIN ({first_of("found", _SIZE, "in_doubt_key DESC")}) f ON true
        ORDER BY in_doubt_key DESC
        """
    )


_LISTS = {way: _list(looked) for way, looked in _LOOKED.items()}
# Of these only some executions' attempts: whether they are few enough to be put in order at once.
_MANY = """
    SELECT count(*) > $3 FROM (
        SELECT FROM zart.in_doubt WHERE resolved_at IS NULL
          AND execution_id >= $1 AND execution_id < $1 || $2 LIMIT $3 + 1) f
"""


async def list_in_doubt(
    connection: Connection,
    wanted: ExecutionFilter,
    cursor: tuple[int | str, ...] | None,
    limit: int,
) -> Page[InDoubtAttempt]:
    """List attempts in doubt, newest first; a page may have fewer though others follow.

    Raises BatchNotFound or ErrorGroupNotFound.
    """
    if wanted.batch_id:
        await batch_key_of(connection, wanted.batch_id)
    if wanted.error_group_id:
        await expect_group(connection, wanted.error_group_id)
    way, looked = "of all", _LOOKED_AT
    prefix = wanted.execution_id_prefix
    if prefix and not await connection.fetchval(_MANY, prefix, _LAST, _LOOKED_AT):
        way, looked = "of few executions", _LOOKED_AT + 1
    elif wanted.task_name:
        way = "of a task"
    if wanted == ExecutionFilter(task_name=wanted.task_name):
        looked = limit + 1
    values: dict[str, object] = {"last": _LAST} if way == "of few executions" else {}
    statement = _LISTS[way]
    rows = await connection.fetch(
        statement.text,
        *statement.arguments(
            **values,
            before=2**63 - 1 if cursor is None else int(cursor[0]),
            looked=looked,
            limit=limit + 1,
            page_bytes=PAGE_BYTES,
            task_name=wanted.task_name,
            prefix=prefix,
            step_regex=to_regex(wanted.step_pattern) if wanted.step_pattern else "",
            ended_after=wanted.dead_after,
            ended_before=wanted.dead_before,
            step_statuses=[status.value for status in wanted.step_statuses],
            contains=wanted.error_contains,
            error_group_id=wanted.error_group_id,
            of_executions=bool(
                wanted.statuses
                or wanted.created_after
                or wanted.created_before
                or wanted.triggered_by
                or wanted.batch_id
            ),
            **plain_arguments(wanted),
            created_after=wanted.created_after,
            created_before=wanted.created_before,
            statuses=[status.value for status in wanted.statuses],
        ),
    )
    until: int | None = rows[0]["until"]
    found = [row for row in rows if row["in_doubt_key"] is not None][:limit]
    if found and found[0]["n_rows"] > len(found):
        until = found[-1]["in_doubt_key"]
    size = sum(len(row["late_result"] or "") + len(row["late_error"] or "") for row in found)
    items = await connection.aside(size, lambda: tuple(map(doubt_of, found)))
    cursors = tuple((row["in_doubt_key"],) for row in found)
    return Page(items, cursors, None if until is None else (until,), size)
