"""What pause rules match, found by index: an execution's tasks by its run, all else by lane.

Most lanes are of one step only. Then a rule matches all tasks of a lane or none, and the tasks need
not be looked at; where a lane has several steps, each task's name is compared. What is only counted
is looked for among so many tasks at most: a pattern may match none of a million.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zart_server.domain.rule_set import StepNames
from zart_server.store.connection import Connection
from zart_server.store.pausing.exempting import exempts, exempts_any
from zart_server.store.pausing.released import standing
from zart_server.store.statement import Statement

# A lane l that a rule r without an execution may match.
LANE_MAY_MATCH = """
    (r.task_name IS NULL OR r.task_name = l.task_name)
    AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
"""
# The lanes l among which these are. Those of a task are found by it, however many others there are.
LANES = """(
    SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
    UNION ALL SELECT lane, task_name, step_name FROM zart.lanes WHERE r.task_name IS NULL) l"""
# A task t of such a lane that it does match.
TASK_OF_LANE_MATCHES = (
    "(r.step_regex IS NULL OR l.step_name IS NOT NULL OR t.step_name ~ r.step_regex)"
)


def any_matches_lane(rules: str, which: str, *, unknown: str) -> str:
    """Return the condition that any of ``rules``, of a WITH, matches a lane l; it is never NULL.

    ``which``: of which rules, a condition on r. ``unknown``: what a pattern says of a lane of
    several steps. No lane is compared with each rule, as there may be thousands of both: its task
    is looked up, and of patterns only those without a task and those of its task are tried.
    """
    of_all = f"FROM {rules} r WHERE {which} AND r.task_name IS NULL"
    of_task = f"FROM {rules} r WHERE {which} AND r.task_name IS NOT NULL"
    patterns = f"""(
        SELECT jsonb_object_agg(task_name, patterns) FROM (
            SELECT task_name, jsonb_agg(step_regex) AS patterns
            {of_task} AND step_regex IS NOT NULL
            GROUP BY task_name) p)"""
    return f"""(
        EXISTS (SELECT {of_all} AND step_regex IS NULL)
        OR l.task_name IN (SELECT task_name {of_task} AND step_regex IS NULL)
        OR COALESCE(l.step_name ~ ANY (ARRAY(
            SELECT step_regex {of_all} AND step_regex IS NOT NULL)), {unknown})
        OR (l.task_name IN (SELECT task_name {of_task} AND step_regex IS NOT NULL)
            AND COALESCE(l.step_name ~ ANY (ARRAY(
                SELECT jsonb_array_elements_text({patterns} -> l.task_name))), {unknown})))"""


def unfinished_run(execution_id: str) -> str:
    """Return a query for the unfinished run of an execution, if it has one: its last."""
    return f"""
        SELECT l.run_key, e.task_name FROM (
            SELECT execution_key, task_name FROM zart.executions
            WHERE execution_id = {execution_id} OFFSET 0) e
        CROSS JOIN LATERAL (
            SELECT run_key, status FROM zart.runs WHERE execution_key = e.execution_key
            ORDER BY run_number DESC LIMIT 1) l
        WHERE l.status IN ('scheduled', 'running')
    """


UNFINISHED_RUN = unfinished_run("r.execution_id")


def _tasks_compared(table: str, columns: str, looked_at: str) -> str:
    """Return a query for up to so many tasks of lanes of several steps, for a pattern of r."""
    return f"""
        SELECT t.* FROM {LANES} CROSS JOIN LATERAL (
            SELECT {columns} FROM zart.{table} WHERE lane = l.lane
            ORDER BY not_before, queue_no LIMIT {looked_at}) t
        WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
          AND {LANE_MAY_MATCH}
        LIMIT {looked_at}
    """


def tasks_matched(
    table: str, limit: str, but: str = "", looked_at: str = "NULL", but_compared: str = ""
) -> str:
    """Return a query for up to ``limit`` tasks of a table, indexed by run and lane, that r matches.

    Of the rule r beside it: (run_key, step_no, attempt, step_name), in no order. ``but``: another
    condition on the task t, "AND …". ``looked_at``: among how many tasks of lanes of several steps,
    NULL: all. Then there may be more than are found, where ``has_more_tasks`` says so.
    ``but_compared``: in place of ``but`` for these.
    """
    columns = "run_key, step_no, attempt, step_name"
    return f"""
        (SELECT t.run_key, t.step_no, t.attempt, t.step_name
         FROM ({UNFINISHED_RUN}) u CROSS JOIN LATERAL (
            SELECT {columns} FROM zart.{table}
            WHERE run_key = u.run_key OFFSET 0) t
         WHERE (r.task_name IS NULL OR r.task_name = u.task_name)
           AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex) {but}
         LIMIT {limit})
        UNION ALL
        (SELECT m.* FROM {LANES} CROSS JOIN LATERAL (
            SELECT {columns} FROM zart.{table} t WHERE t.lane = l.lane {but}
            ORDER BY t.not_before, t.queue_no LIMIT {limit}) m
         WHERE r.execution_id IS NULL AND (r.step_regex IS NULL OR l.step_name IS NOT NULL)
           AND {LANE_MAY_MATCH}
         LIMIT {limit})
        UNION ALL
        (SELECT t.run_key, t.step_no, t.attempt, t.step_name
         FROM ({_tasks_compared(table, columns, looked_at)}) t
         WHERE t.step_name ~ r.step_regex {but_compared or but}
         LIMIT {limit})
    """


def has_more_tasks(table: str, looked_at: str) -> str:
    """Return the condition that there are more tasks than that to compare with a pattern of r."""
    return f"""EXISTS (
        SELECT FROM ({_tasks_compared(table, "lane", f"{looked_at} + 1")}) t OFFSET {looked_at})"""


# A rule is still moving aside what is queued: none that is not withholds any of that.
IS_SETTLING = """EXISTS (
    SELECT FROM zart.pause_work w
    WHERE w.rule_key = pause_rules.rule_key AND work = 'settle' OFFSET 0)"""
LOOKED_AT = 100_000  # so many tasks are compared to count what rules match, of all of them together
_LEAST = 100  # of each rule


def looked_at_of_each(rules: int) -> int:
    """Return with how many tasks a pattern of each of so many rules is compared."""
    return max(_LEAST, LOOKED_AT // max(rules, 1))


def withheld_of_lanes(
    limit: str, looked_at: str, but: str, but_compared: str = ""
) -> tuple[str, str]:
    """Return a query for tasks that r withholds, as ``tasks_matched``, and if there may be more.

    Of r it is known whether it ``is_settling``.
    """
    queued, held = (
        tasks_matched(table, limit, but, looked_at, but_compared) for table in ("queue", "held")
    )
    tasks = f"SELECT q.* FROM ({queued}) q WHERE r.is_settling UNION ALL {held}"
    more = f"""(r.is_settling AND {has_more_tasks("queue", looked_at)}
        OR {has_more_tasks("held", looked_at)})"""
    return tasks, more


class Matching(NamedTuple):
    """What a rule matches: ready steps, whether any of them may be queued, and steps in flight.

    ``is_lower_bound``: there may be more ready ones.
    """

    rule_key: int
    is_of_execution: bool  # the rule names one
    ready: int
    is_lower_bound: bool
    is_any_queued: bool
    running: int


# How many steps in flight a rule r matches: one without an execution, and one of an execution.
RUNNING = f"""
    SELECT COALESCE(sum(t.n), 0)::bigint FROM (
        SELECT lane, step_name, count(*) AS n FROM zart.leases GROUP BY lane, step_name) t
    CROSS JOIN LATERAL (SELECT * FROM zart.lanes WHERE lane = t.lane OFFSET 0) l
    WHERE {LANE_MAY_MATCH} AND {TASK_OF_LANE_MATCHES}
"""
RUNNING_OF_EXECUTION = f"""
    SELECT count(*) FROM ({UNFINISHED_RUN}) u CROSS JOIN LATERAL (
        SELECT step_name FROM zart.leases WHERE run_key = u.run_key OFFSET 0) t
    WHERE (r.task_name IS NULL OR r.task_name = u.task_name)
      AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
"""


async def count_matching(connection: Connection, rule_id: str, limit: int) -> Matching | None:
    """Count what a rule matches, ready steps up to ``limit``; None: there is no such rule."""
    row = await connection.fetchrow(
        f"""
        SELECT r.rule_key, r.execution_id IS NOT NULL, f.ready,
            f.ready = $2 OR {has_more_tasks("queue", "$3")} OR {has_more_tasks("held", "$3")},
            EXISTS (SELECT FROM ({tasks_matched("queue", "1", looked_at="$3")}) q)
                OR {has_more_tasks("queue", "$3")},
            CASE WHEN r.execution_id IS NULL THEN ({RUNNING}) ELSE ({RUNNING_OF_EXECUTION}) END
        FROM zart.pause_rules r CROSS JOIN LATERAL (
            SELECT count(*) AS ready FROM (
                SELECT FROM (
                    {tasks_matched("queue", "$2", looked_at="$3")}
                    UNION ALL {tasks_matched("held", "$2", looked_at="$3")}) t
                LIMIT $2) t OFFSET 0) f
        WHERE r.rule_id = $1
        """,
        rule_id,
        limit,
        LOOKED_AT,
    )
    return None if row is None else Matching(*row)


# Whether a rule r has let any attempt go that nobody has leased: then each task is asked for it.
IS_LETTING_GO = f"""EXISTS (
    SELECT FROM zart.released_steps s
    WHERE s.rule_key = pause_rules.rule_key AND {standing("s")} OFFSET 0)"""
# A rule r, of which that is known, has not let the attempt of a task t go.
NOT_LET_GO = """AND (NOT r.is_letting_go OR (
    SELECT true FROM zart.released_steps s
    WHERE s.run_key = t.run_key AND s.step_no = t.step_no AND s.attempt = t.attempt
      AND s.rule_key = r.rule_key AND s.token_until IS NULL) IS NULL)"""
_EXECUTION = """(
    SELECT execution_id FROM zart.executions WHERE execution_key = (
        SELECT execution_key FROM zart.runs WHERE run_key = t.run_key))"""
# It withholds it: that is no execution that it exempts either, of which it is known if any is.
WITHHELD = f"{NOT_LET_GO} AND NOT (r.is_exempting AND {exempts('r.rule_key', _EXECUTION)})"
_LET_GO = """ARRAY(
    SELECT s.rule_key FROM zart.released_steps s
    WHERE s.run_key = m.run_key AND s.step_no = m.step_no AND s.attempt = m.attempt
      AND s.token_until IS NULL)"""


_FOUND, _MAY_BE_MORE = withheld_of_lanes(":limit::bigint", ":looked_at::bigint", WITHHELD)
_MATCHING = Statement(f"""
    WITH rules AS MATERIALIZED (
        SELECT *, {IS_SETTLING} AS is_settling, {IS_LETTING_GO} AS is_letting_go,
            {exempts_any("pause_rules.rule_key")} AS is_exempting
        FROM zart.pause_rules WHERE rule_key = ANY(:rule_keys::bigint[])
    ), found AS MATERIALIZED (
        SELECT DISTINCT t.run_key, t.step_no, t.attempt, t.step_name
        FROM rules r CROSS JOIN LATERAL ({_FOUND}) t
        LIMIT :limit
    )
    SELECT e.execution_id, e.task_name, m.step_name, {_LET_GO} AS let_go
    FROM found m CROSS JOIN LATERAL (
        SELECT execution_id, task_name FROM zart.executions WHERE execution_key = (
            SELECT execution_key FROM zart.runs WHERE run_key = m.run_key) OFFSET 0) e
    UNION ALL
    SELECT NULL, NULL, NULL, NULL FROM (SELECT count(*) AS n FROM found) c
    WHERE CASE WHEN c.n < :limit THEN EXISTS (SELECT FROM rules r WHERE {_MAY_BE_MORE}) END
""")


class Matched(NamedTuple):
    """Ready steps that rules withhold; ``is_look_cut``: more might be found by a longer look."""

    steps: list[StepNames]
    is_look_cut: bool


async def find_matching(connection: Connection, rule_keys: Sequence[int], limit: int) -> Matched:
    """Return up to ``limit`` ready steps that any of some rules withholds.

    Not what they have let go or exempt: it would be found in place of what they withhold.
    """
    values = _MATCHING.arguments(
        rule_keys=rule_keys, limit=limit, looked_at=looked_at_of_each(len(rule_keys))
    )
    rows = await connection.fetch(_MATCHING.text, *values)
    steps: list[StepNames] = [
        (row[0], row[1], row[2], row[3]) for row in rows if row[0] is not None
    ]
    return Matched(steps, len(steps) < len(rows))


async def find_of_executions(
    connection: Connection, rule_key: int, execution_ids: Sequence[str], limit: int
) -> list[StepNames]:
    """Return up to ``limit`` ready steps of executions that are in the scope of a rule."""
    rows = await connection.fetch(
        f"""
        SELECT i.id, u.task_name, m.step_name, {_LET_GO} AS let_go
        FROM (SELECT * FROM zart.pause_rules WHERE rule_key = $1 OFFSET 0) r
        CROSS JOIN unnest($2::text[]) i(id)
        CROSS JOIN LATERAL ({unfinished_run("i.id")}) u
        CROSS JOIN LATERAL (
            SELECT run_key, step_no, attempt, step_name FROM zart.queue WHERE run_key = u.run_key
            UNION ALL
            SELECT run_key, step_no, attempt, step_name FROM zart.held WHERE run_key = u.run_key
            OFFSET 0) m
        WHERE (r.execution_id IS NULL OR r.execution_id = i.id)
          AND (r.task_name IS NULL OR r.task_name = u.task_name)
          AND (r.step_regex IS NULL OR m.step_name ~ r.step_regex)
        LIMIT $3
        """,
        rule_key,
        execution_ids,
        limit,
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]
