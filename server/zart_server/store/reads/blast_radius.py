"""Counts what a pause rule would withhold, were there one: without the pause lock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.model import PauseScope
from zart_server.store.connection import Connection
from zart_server.store.pausing.matching import (
    LANE_MAY_MATCH,
    LANES,
    LOOKED_AT,
    RUNNING,
    RUNNING_OF_EXECUTION,
    TASK_OF_LANE_MATCHES,
    UNFINISHED_RUN,
    has_more_tasks,
    tasks_matched,
)
from zart_server.store.reads.listed_runs import ListPosition, find_runs, range_of
from zart_server.store.reads.named import UNFINISHED
from zart_server.store.statement import Statement


class MatchedNow(NamedTuple):
    """The ready steps that a scope matches, since when the oldest could run; those in flight.

    ``is_lower_bound``: there may be more, and older ones.
    """

    ready: int
    is_lower_bound: bool
    running: int
    oldest_ready_at: datetime | None


_LOOKED_AT = ":looked_at::bigint"


def _oldest_of_lane(table: str) -> str:
    return f"""(SELECT t.not_before FROM (
            SELECT not_before, queue_no, step_name FROM zart.{table} WHERE lane = l.lane
            ORDER BY not_before, queue_no LIMIT {_LOOKED_AT}) t
         WHERE {TASK_OF_LANE_MATCHES}
         ORDER BY t.not_before, t.queue_no LIMIT 1)"""


def _of_execution(table: str) -> str:
    return f"""SELECT t.not_before FROM ({UNFINISHED_RUN}) u CROSS JOIN LATERAL (
            SELECT not_before, step_name FROM zart.{table} WHERE run_key = u.run_key OFFSET 0) t
        WHERE (r.task_name IS NULL OR r.task_name = u.task_name)
          AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)"""


_NOW = Statement(
    f"""
    SELECT c.ready, c.ready = :limit::bigint OR {has_more_tasks("queue", _LOOKED_AT)}
            OR {has_more_tasks("held", _LOOKED_AT)},
        CASE WHEN r.execution_id IS NULL THEN ({RUNNING}) ELSE ({RUNNING_OF_EXECUTION}) END,
        CASE WHEN r.execution_id IS NULL THEN (
            SELECT min(o.not_before) FROM {LANES} CROSS JOIN LATERAL (
                {_oldest_of_lane("queue")} UNION ALL {_oldest_of_lane("held")}) o
            WHERE {LANE_MAY_MATCH})
        ELSE (SELECT min(o.not_before) FROM (
            {_of_execution("queue")} UNION ALL {_of_execution("held")}) o) END
    FROM (SELECT :execution_id::text AS execution_id, :task_name::text AS task_name,
        :regex::text AS step_regex OFFSET 0) r
    CROSS JOIN LATERAL (
        SELECT count(*) AS ready FROM (
            SELECT FROM (
                {tasks_matched("queue", ":limit", looked_at=_LOOKED_AT)}
                UNION ALL {tasks_matched("held", ":limit", looked_at=_LOOKED_AT)}) t
            LIMIT :limit) t OFFSET 0) c
    """
)


async def count_matched_now(
    connection: Connection, scope: PauseScope, regex: str | None, limit: int
) -> MatchedNow:
    """Count the ready steps that a scope matches, up to ``limit``, and those in flight."""
    (row,) = await connection.fetch(
        _NOW.text,
        *_NOW.arguments(
            execution_id=scope.execution_id,
            task_name=scope.task_name,
            regex=regex,
            limit=limit,
            looked_at=LOOKED_AT,
        ),
    )
    return MatchedNow(*row)


_TO_RUN = Statement(
    """
    WITH page AS MATERIALIZED (
        SELECT u.n, r.* FROM unnest(:run_keys::bigint[]) WITH ORDINALITY u(key, n)
        CROSS JOIN LATERAL (
            SELECT run_key, execution_key, definition_key FROM zart.runs
            WHERE run_key = u.key OFFSET 0) r
    ), matching AS MATERIALIZED (
        SELECT p.definition_key, array_agg(s.no::integer - 1) AS numbers
        FROM (SELECT DISTINCT definition_key FROM page) p
        CROSS JOIN LATERAL (
            SELECT step_names FROM zart.definitions
            WHERE definition_key = p.definition_key OFFSET 0) d
        CROSS JOIN LATERAL unnest(d.step_names) WITH ORDINALITY s(name, no)
        WHERE :regex::text IS NULL OR s.name ~ :regex
        GROUP BY p.definition_key
    )
    SELECT p.execution_key FROM page p JOIN matching m USING (definition_key)
    WHERE EXISTS (
        SELECT FROM unnest(m.numbers) i(step_no) CROSS JOIN LATERAL (
            SELECT status FROM zart.steps
            WHERE steps.run_key = p.run_key AND steps.step_no = i.step_no OFFSET 0) s
        WHERE s.status = 'open')
    ORDER BY p.n
    """
)


async def find_to_run(
    connection: Connection, run_keys: Sequence[int], regex: str | None
) -> list[int]:
    """Return the keys of executions that have a matching step still to run, of these runs."""
    arguments = _TO_RUN.arguments(run_keys=run_keys, regex=regex)
    return [row[0] for row in await connection.fetch(_TO_RUN.text, *arguments)]


async def unfinished_page(
    connection: Connection, task_name: str | None, before: ListPosition | None, limit: int
) -> tuple[list[int], ListPosition | None]:
    """Return unfinished runs, newest execution first, and where the next page begins."""
    wanted = await range_of(connection, task_name or "", UNFINISHED, (None, None), None)
    if wanted is None:
        return [], None
    page = await find_runs(
        connection, wanted if before is None else wanted._replace(before=before), limit
    )
    is_last = len(page) < limit
    return [run.run_key for run in page], None if is_last else page[-1].position


async def ids_of_executions(connection: Connection, keys: Sequence[int]) -> tuple[str, ...]:
    """Return the ids of executions, in order."""
    rows = await connection.fetch(
        "SELECT e.execution_id FROM unnest($1::bigint[]) WITH ORDINALITY u(key, n)"
        " CROSS JOIN LATERAL (SELECT execution_id FROM zart.executions"
        " WHERE execution_key = u.key OFFSET 0) e ORDER BY n",
        keys,
    )
    return tuple(row[0] for row in rows)
