"""Whether a ready step has been PAUSED, or SCHEDULED, since a moment, as conditions of SQL.

Nothing tells of a step since when rules withhold it. What may have changed that is on record: rules
that began or ended, executions that they exempt or do not any more, attempts that they let go or
took back. Where one of these came later than ``:as_of``, a step may have been in the other state.
"""

from __future__ import annotations

from zart_server.store.reads.fitting import EXECUTION_ID


def _exempted(is_exempt: str) -> str:
    """Return the condition that a rule has begun, or ceased, to exempt the run's execution."""
    return f"""EXISTS (
        SELECT FROM zart.operations o
        WHERE o.execution_id = {EXECUTION_ID} AND o.kind = 'update_pause_rule'
          AND o.created_at > :as_of AND o.made->>'is_exempt' = '{is_exempt}' OFFSET 0)"""


_OF_ATTEMPT = "x.run_key = t.run_key AND x.step_no = t.step_no AND x.attempt = t.attempt"
_LET_GO = f"""EXISTS (
        SELECT FROM zart.released_steps x
        WHERE {_OF_ATTEMPT} AND x.released_at > :as_of OFFSET 0)"""
# A release that was stopped, or a half-open breaker that opened again.
_TAKEN_BACK = f"""EXISTS (
        SELECT FROM (
            SELECT rule_key FROM zart.released_steps x
            WHERE {_OF_ATTEMPT} AND x.token_until IS NOT NULL OFFSET 0) x
        CROSS JOIN LATERAL (
            SELECT breaker_id FROM zart.pause_rules p WHERE p.rule_key = x.rule_key OFFSET 0) p
        LEFT JOIN LATERAL (
            SELECT COALESCE(ended_at, started_at) AS at FROM zart.pause_releases z
            WHERE z.rule_key = x.rule_key OFFSET 0) z ON true
        LEFT JOIN LATERAL (
            SELECT opened_at AS at FROM zart.breakers b
            WHERE b.breaker_id = p.breaker_id AND b.rule_key = x.rule_key OFFSET 0) b ON true
        WHERE GREATEST(z.at, b.at) > :as_of)"""
# A part of a WITH: the rules that have ended since then, though they stood at that moment. In the
# order of their index, so that nothing else is read; a plan is good for an hour.
ENDED = """
    ended AS MATERIALIZED (
        SELECT execution_id, task_name, step_regex FROM zart.pause_rules
        WHERE deleted_at > :as_of::timestamptz AND created_at <= :as_of
        ORDER BY deleted_at
    )
"""
_ENDED = f"""EXISTS (
        SELECT FROM ended p
        WHERE (p.execution_id IS NULL OR p.execution_id = {EXECUTION_ID})
          AND (p.task_name IS NULL OR p.task_name = c.listed_task)
          AND (p.step_regex IS NULL OR t.step_name ~ p.step_regex))"""


def was_paused(rule_key: str) -> str:
    """Return the condition that a task t of the run c, which this rule withholds, was PAUSED then.

    Where SCHEDULED ones are asked for, too, it need not have been.
    """
    return f"""CASE WHEN NOT :asks_paused::boolean THEN true
        ELSE COALESCE((SELECT p.created_at <= :as_of FROM zart.pause_rules p
                WHERE p.rule_key = {rule_key}), false)
            AND NOT {_exempted("false")} AND NOT {_TAKEN_BACK} END"""


# Of a task t of the run c that a rule withholds, which stood then: that it did so then.
WAS_WITHHELD = f"""NOT {_exempted("false")} AND NOT {_TAKEN_BACK}"""
# Of a task t of the run c that is SCHEDULED: that it was then, or that PAUSED is asked for, too.
WAS_SCHEDULED = f"""CASE WHEN NOT :asks_scheduled::boolean THEN true
        ELSE NOT {_LET_GO} AND NOT {_exempted("true")} AND NOT {_ENDED} END"""
