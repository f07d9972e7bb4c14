"""Whether a rule withholds what it matches, as SQL: not what it exempts, nor what it let go."""

from __future__ import annotations


def exempts(rule: str, execution_id: str) -> str:
    """Return the condition that a rule, by its key, exempts an execution now."""
    return f"""EXISTS (
        SELECT FROM zart.pause_exemptions x
        WHERE x.rule_key = {rule} AND x.execution_id = {execution_id} AND x.token_until IS NULL
        OFFSET 0)"""


def exempts_any(rule: str) -> str:
    """Return the condition that a rule exempts some execution now."""
    return f"""EXISTS (
        SELECT FROM zart.pause_exemptions x
        WHERE x.rule_key = {rule} AND x.token_until IS NULL OFFSET 0)"""


def holds(rule: str, execution_id: str) -> str:
    """Return the condition that a rule to which a paused step is attributed still withholds it."""
    return f"""(EXISTS (
        SELECT FROM zart.pause_rules a
        WHERE a.rule_key = {rule} AND a.deleted_at IS NULL OFFSET 0)
    AND NOT {exempts(rule, execution_id)})"""


# The settling rules. What is settled of one execution, the rule's own or one that it exempts no
# longer, is of the only run that may be unfinished: the last. ``is_whole``: whatever task of a lane
# the rule matches, it is to be paused.
SETTLING = f"""
    settling AS MATERIALIZED (
        SELECT r.rule_key, r.task_name, r.step_regex, u.run_key, w.of_released, x.is_exempting,
            u.run_key IS NULL AND NOT w.of_released AND NOT x.is_exempting AS is_whole
        FROM zart.pause_work w CROSS JOIN LATERAL (
            SELECT *, COALESCE(NULLIF(w.execution_id, ''), execution_id) AS settled_id
            FROM zart.pause_rules WHERE rule_key = w.rule_key OFFSET 0) r
        CROSS JOIN LATERAL (SELECT {exempts_any("r.rule_key")} AS is_exempting OFFSET 0) x
        LEFT JOIN LATERAL (
            SELECT run_key, status FROM zart.runs WHERE execution_key = (
                SELECT execution_key FROM zart.executions WHERE execution_id = r.settled_id)
            ORDER BY run_number DESC LIMIT 1) u ON u.status IN ('scheduled', 'running')
        WHERE work = 'settle' AND r.deleted_at IS NULL
          AND (r.settled_id IS NULL OR u.run_key IS NOT NULL)
    )
"""
# A settling rule r is to pause a queued task t that its scope matches: if it settles what it took
# back (``of_released``), an attempt that it had released; else one that it has not let go.
# ``is_exempting``: r exempts some executions, and the task may be of one of them.
SETTLES = f"""(
    r.of_released = EXISTS (
        SELECT FROM zart.released_steps x
        WHERE x.run_key = t.run_key AND x.step_no = t.step_no AND x.attempt = t.attempt
          AND x.rule_key = r.rule_key AND (x.token_until IS NOT NULL) = r.of_released OFFSET 0)
    AND NOT (r.is_exempting AND {
    exempts(
        "r.rule_key",
        '''(
        SELECT execution_id FROM zart.executions WHERE execution_key = (
            SELECT execution_key FROM zart.runs WHERE run_key = t.run_key))''',
    )
}))"""
