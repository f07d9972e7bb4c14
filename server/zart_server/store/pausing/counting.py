"""Counts what rules withhold and what of it is in flight, without what they exempt or let go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.model import PauseRule
from zart_server.domain.rule_counts import RuleCounts
from zart_server.store.connection import Connection
from zart_server.store.pausing.exempting import exempts, exempts_any
from zart_server.store.pausing.matching import (
    IS_LETTING_GO,
    IS_SETTLING,
    NOT_LET_GO,
    WITHHELD,
    looked_at_of_each,
    unfinished_run,
    withheld_of_lanes,
)
from zart_server.store.pausing.released import standing
from zart_server.store.pausing.rules import RuleRow
from zart_server.store.statement import Statement

_EXACT_TO = 10_000


def _of_exempt(columns: str, tasks: str) -> str:
    """Return a query for tasks t of the executions that a rule r exempts, as far as it matches."""
    return f"""
        SELECT {columns} FROM zart.pause_exemptions x
        CROSS JOIN LATERAL ({unfinished_run("x.execution_id")}) u
        CROSS JOIN LATERAL ({tasks}) t
        WHERE x.rule_key = r.rule_key AND x.token_until IS NULL
          AND (r.execution_id IS NULL OR r.execution_id = x.execution_id)
          AND (r.task_name IS NULL OR r.task_name = u.task_name)
          AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
    """


# An attempt s that a rule r has let go is of an execution that it exempts.
_IS_EXEMPT = exempts(
    "r.rule_key",
    """(
        SELECT execution_id FROM zart.executions WHERE execution_key = (
            SELECT execution_key FROM zart.runs WHERE run_key = s.run_key))""",
)
# A lease that was not extended for half of its time: dispatchers extend at a third.
_SILENT = "lease_expires_at - statement_timestamp() < lease_seconds / 2 * interval '1 second'"
_SUMS = f"""count(*) AS n, count(*) FILTER (WHERE {_SILENT}) AS silent,
    max(lease_expires_at) FILTER (WHERE {_SILENT}) AS silent_until"""


class InFlight(NamedTuple):
    """What is in flight of the steps that a rule matches, released ones included.

    ``is_letting_go``: nothing is, but what the rule has released, and does not exempt, may be
    leased at any moment. ``undrained`` counts how often it has let go steps since its creation.
    """

    rule_key: int
    is_deleted: bool
    undrained: int
    running: int
    silent: int
    silent_until: datetime | None
    is_letting_go: bool


def _in_flight(rules: str) -> Statement:
    """Return the query that counts by one look at all leases; ``rules`` says of which rules.

    Of a rule with a task only what is leased of that is gone through: as JSON, whose keys are
    looked up, where each rule would be joined with each task that any lease is of.
    """
    return Statement(
        f"""
        WITH rules AS MATERIALIZED ({rules}
        ), leased AS MATERIALIZED (
            SELECT l.task_name, t.* FROM (
                SELECT lane, step_name, {_SUMS} FROM zart.leases GROUP BY lane, step_name) t
            CROSS JOIN LATERAL (
                SELECT task_name FROM zart.lanes WHERE lane = t.lane OFFSET 0) l
        ), by_task AS MATERIALIZED (
            SELECT jsonb_object_agg(task_name, groups) AS groups FROM (
                SELECT task_name,
                    jsonb_agg(jsonb_build_array(step_name, n, silent, silent_until)) AS groups
                FROM leased
                -- Not a join, which would compare each pair.
                WHERE (task_name IN (SELECT task_name FROM rules)) IS TRUE
                GROUP BY task_name) t
        )
        SELECT r.rule_key, r.deleted_at IS NOT NULL, r.undrained, COALESCE(c.n, 0)::bigint,
            COALESCE(c.silent, 0)::bigint, c.silent_until, CASE WHEN COALESCE(c.n, 0) > 0 THEN false
            ELSE EXISTS (
                SELECT FROM zart.pause_releases p
                WHERE p.rule_key = r.rule_key AND p.ended_at IS NULL OFFSET 0)
            OR EXISTS (
                SELECT FROM zart.released_steps s CROSS JOIN LATERAL (
                    SELECT attempt FROM zart.queue
                    WHERE run_key = s.run_key AND step_no = s.step_no OFFSET 0) q
                WHERE s.rule_key = r.rule_key AND {standing("s")} AND q.attempt = s.attempt
                  AND NOT {_IS_EXEMPT}
                OFFSET 0) END
        FROM rules r CROSS JOIN LATERAL (
            SELECT sum(n) AS n, sum(silent) AS silent, max(silent_until) AS silent_until FROM (
                SELECT n, silent, silent_until FROM leased g
                WHERE r.execution_id IS NULL AND r.task_name IS NULL
                  AND (r.step_regex IS NULL OR g.step_name ~ r.step_regex)
                UNION ALL
                SELECT (g ->> 1)::bigint, (g ->> 2)::bigint, (g ->> 3)::timestamptz
                FROM jsonb_array_elements((SELECT groups FROM by_task) -> r.task_name) g
                WHERE r.execution_id IS NULL AND r.task_name IS NOT NULL
                  AND (r.step_regex IS NULL OR (g ->> 0) ~ r.step_regex)
                UNION ALL
                SELECT {_SUMS} FROM ({unfinished_run("r.execution_id")}) u CROSS JOIN LATERAL (
                    SELECT * FROM zart.leases WHERE run_key = u.run_key OFFSET 0) t
                WHERE (r.task_name IS NULL OR r.task_name = u.task_name)
                  AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
                UNION ALL
                SELECT -n, -silent, NULL FROM ({
            _of_exempt(_SUMS, "SELECT * FROM zart.leases WHERE run_key = u.run_key OFFSET 0")
        }) e) s) c
        """
    )


def _rules(drains: str) -> str:
    return f"""
        SELECT r.*, d.undrained FROM ({drains}) d CROSS JOIN LATERAL (
            SELECT rule_key, execution_id, task_name, step_regex, deleted_at
            FROM zart.pause_rules WHERE rule_key = d.rule_key OFFSET 0) r
    """


_UNDRAINED = _in_flight(
    _rules("SELECT rule_key, undrained FROM zart.pause_drains WHERE drained_at IS NULL")
)
_OF_RULES = _in_flight(
    _rules(
        "SELECT rule_key, undrained FROM zart.pause_drains"
        " WHERE rule_key = ANY(:rule_keys::bigint[])"
    )
)


async def undrained_rules(connection: Connection) -> list[InFlight]:
    """Return what is in flight of each rule that is not known to be drained; locks nothing."""
    return [InFlight(*row) for row in await connection.fetch(_UNDRAINED.text)]


async def in_flight(connection: Connection, rule_keys: Sequence[int]) -> list[InFlight]:
    """Return what is in flight of rules, as of now; locks nothing."""
    rows = await connection.fetch(_OF_RULES.text, *_OF_RULES.arguments(rule_keys=rule_keys))
    return [InFlight(*row) for row in rows]


class Withheld(NamedTuple):
    """How many ready steps a rule withholds; ``is_lower_bound``: or more."""

    steps: int
    is_lower_bound: bool


# What is counted up to a limit are exempt ones, too: it is by so many higher. Not so of what is
# compared: of that only a part is looked at, and each that is exempt is left out.
_TASKS, _MAY_BE_MORE = withheld_of_lanes("r.most", "r.looked_at", NOT_LET_GO, WITHHELD)
_IS_WHOLE = """AND (r.step_regex IS NULL OR r.execution_id IS NOT NULL OR (
    SELECT step_name FROM zart.lanes WHERE lanes.lane = t.lane) IS NOT NULL)"""
_WITHHELD = Statement(
    f"""
    SELECT r.rule_key, c.n - r.exempt, c.n = r.most OR {_MAY_BE_MORE}
    FROM unnest(:rule_keys::bigint[]) k(rule_key) CROSS JOIN LATERAL (
        SELECT r.*, e.n AS exempt, e.n + :most::bigint AS most,
            greatest(e.n + :most, :looked_at::bigint) AS looked_at
        FROM (
            SELECT *, {IS_SETTLING} AS is_settling, {IS_LETTING_GO} AS is_letting_go,
                {exempts_any("pause_rules.rule_key")} AS is_exempting
            FROM zart.pause_rules WHERE rule_key = k.rule_key OFFSET 0) r
        CROSS JOIN LATERAL ({
        _of_exempt(
            "count(*)",
            "SELECT run_key, step_no, step_name, attempt, lane FROM zart.queue"
            " WHERE run_key = u.run_key AND r.is_settling UNION ALL"
            " SELECT run_key, step_no, step_name, attempt, lane FROM zart.held"
            " WHERE run_key = u.run_key OFFSET 0",
        )
    } {NOT_LET_GO} {_IS_WHOLE}) e(n) OFFSET 0) r
    CROSS JOIN LATERAL (
        SELECT count(*) AS n FROM (SELECT FROM ({_TASKS}) t LIMIT r.most) t OFFSET 0) c
    """
)


async def withheld_steps(connection: Connection, rule_keys: Sequence[int]) -> dict[int, Withheld]:
    """Count the ready steps that active rules withhold, each by itself; locks nothing.

    Exact to 10,000 for up to ten rules; for more, to as many less as keeps the whole small.
    """
    if not rule_keys:
        return {}
    looked_at = looked_at_of_each(len(rule_keys))
    exact_to = min(_EXACT_TO, looked_at)
    values = _WITHHELD.arguments(rule_keys=rule_keys, most=exact_to + 1, looked_at=looked_at)
    rows = await connection.fetch(_WITHHELD.text, *values)
    return {key: Withheld(min(max(0, steps), exact_to), is_cut) for key, steps, is_cut in rows}


def with_counts(row: RuleRow, withheld: Withheld | None, flying: InFlight | None) -> PauseRule:
    """Return a rule with its counts, which are zero where there was nothing to count."""
    steps, is_lower_bound = withheld or (0, False)
    running, silent, until = flying[3:6] if flying else (0, 0, None)
    return replace(row.rule, counts=RuleCounts(steps, is_lower_bound, running, silent, until))
