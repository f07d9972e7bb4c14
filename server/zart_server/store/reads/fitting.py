"""What a filter asks of a run ``c`` of a list, as conditions of SQL.

A run is named by ``c.run_key``, ``c.execution_key`` and ``c.listed_task``; a statement that has the
conditions on paused steps says in ``settling`` whether a rule is settling.
"""

from __future__ import annotations

from datetime import UTC, datetime

from zart_server.domain.filters import ExecutionFilter
from zart_server.domain.globs import to_regex
from zart_server.store.pausing.exempting import holds

_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)

WORK = "EXISTS (SELECT FROM zart.pause_work WHERE work = '{}')"
# Whether a rule withholds a queued task t of the run c, while it settles, or a paused one.
EXECUTION_ID = """(SELECT e.execution_id FROM zart.executions e
        WHERE e.execution_key = c.execution_key)"""
_RULE = f"""zart.{{}}_rule({EXECUTION_ID}, c.listed_task, t.step_name,
        t.run_key, t.step_no, t.attempt)"""
_PAUSING, SETTLING = _RULE.format("pausing"), _RULE.format("settling")
QUEUED_PAUSED = f"""CASE WHEN (SELECT yes FROM settling) THEN {SETTLING} IS NOT NULL
        ELSE false END"""
HELD_PAUSED = f"""CASE WHEN {holds("t.rule_key", EXECUTION_ID)} THEN true
        ELSE {_PAUSING} IS NOT NULL END"""


def has_row(table: str, condition: str) -> str:
    """Say that the run c has such a row t. OFFSET keeps it a lookup by the run's key."""
    return f"""EXISTS (SELECT FROM zart.{table} t
        WHERE t.run_key = c.run_key AND {condition} OFFSET 0)"""


NOWHERE = " AND ".join(
    f"NOT EXISTS (SELECT FROM zart.{table} x"
    " WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)"
    for table in ("queue", "held", "leases")
)
# Whether a run c has a step of a wanted state.
HAS = f"""CASE
    WHEN :running::boolean AND {has_row("leases", "true")} THEN true
    WHEN :scheduled::boolean AND {has_row("queue", f"NOT {QUEUED_PAUSED}")} THEN true
    WHEN :scheduled AND {has_row("held", f"NOT {HELD_PAUSED}")} THEN true
    WHEN :paused::boolean AND {has_row("held", HELD_PAUSED)} THEN true
    WHEN :paused AND (SELECT yes FROM settling) AND {has_row("queue", QUEUED_PAUSED)} THEN true
    WHEN :pending::boolean AND {has_row("steps", f"t.status = 'open' AND {NOWHERE}")} THEN true
    WHEN :completed::boolean AND {has_row("steps", "t.status = 'completed'")} THEN true
    ELSE false END"""

# What is asked of an execution itself. In a list of columns, where the order of AND is kept.
PLAIN = """CASE WHEN :id_prefix::text = '' THEN true ELSE (
        SELECT starts_with(e.execution_id, :id_prefix) FROM zart.executions e
        WHERE e.execution_key = c.execution_key OFFSET 0) END
    AND CASE WHEN :triggered_by::text = '' THEN true ELSE (
        SELECT o.triggered_by = :triggered_by FROM zart.runs o
        WHERE o.execution_key = c.execution_key AND o.run_number = 0 OFFSET 0) END
    AND CASE WHEN :batch_id::text = '' THEN true ELSE EXISTS (
        SELECT FROM zart.batch_items i
        WHERE i.batch_key = (SELECT b.batch_key FROM zart.batches b WHERE b.batch_id = :batch_id)
          AND i.execution_key = c.execution_key OFFSET 0) END"""

# Whether the error of the step of a row named {0} has the wanted text.
CONTAINS = """CASE WHEN :contains::text = '' THEN true ELSE (
        SELECT position(:contains IN (s.error->>'type') || ': ' || (s.error->>'message')) > 0
        FROM zart.steps s
        WHERE s.run_key = {0}.run_key AND s.step_no = {0}.step_no OFFSET 0) END"""
# Dead steps x of the run c that fit, with the group g of their error.
DEAD_THAT_FIT = f"""
    (SELECT * FROM zart.dead_steps WHERE run_key = c.run_key OFFSET 0) x
    LEFT JOIN LATERAL (
        SELECT * FROM zart.error_groups WHERE group_key = x.group_key OFFSET 0) g ON true
    WHERE x.died_at >= :died_from::timestamptz AND x.died_at < :died_before::timestamptz
      AND CASE WHEN :error_group_id::text = '' THEN true
               ELSE :error_group_id IN (g.error_group_id, g.former_id) END
      AND CASE WHEN :step_regex::text = '' THEN true ELSE g.step_name ~ :step_regex END
      AND {CONTAINS.format("x")}
"""
_HAS_DEAD = f"EXISTS (SELECT FROM {DEAD_THAT_FIT})"
_NAMED = "CASE WHEN :step_regex::text = '' THEN true ELSE t.step_name ~ :step_regex END"
# Whether the rule withholds a paused task t, whatever rule has it, or one that is queued still.
_BY_RULE = f"""zart.rule_withholds(:rule_key::bigint, {EXECUTION_ID}, c.listed_task, t.step_name,
        t.run_key, t.step_no, t.attempt)"""
HELD_BY_RULE = f"""CASE WHEN t.rule_key <> :rule_key::bigint THEN {_BY_RULE}
        ELSE {holds("t.rule_key", EXECUTION_ID)} END AND {_NAMED}"""
QUEUED_BY_RULE = f"{_BY_RULE} AND {_NAMED}"
_HAS_WITHHELD = f"""({has_row("held", HELD_BY_RULE)}
    OR (SELECT yes FROM settling) AND {has_row("queue", QUEUED_BY_RULE)})"""
# What is asked of an execution and of one of its steps, but for steps in a certain state.
FITS = f"""{PLAIN}
    AND CASE :steps::text WHEN 'dead' THEN {_HAS_DEAD} WHEN 'withheld' THEN {_HAS_WITHHELD}
        ELSE true END"""


def plain_arguments(wanted: ExecutionFilter) -> dict[str, object]:
    """Return the parameters that ``PLAIN`` takes."""
    return {
        "id_prefix": wanted.execution_id_prefix,
        "triggered_by": wanted.triggered_by,
        "batch_id": wanted.batch_id,
    }


def dead_arguments(wanted: ExecutionFilter) -> dict[str, object]:
    """Return the parameters that ``DEAD_THAT_FIT`` takes."""
    return {
        "died_from": wanted.dead_after or _EARLIEST,
        "died_before": wanted.dead_before or _LATEST,
        "error_group_id": wanted.error_group_id,
        "step_regex": to_regex(wanted.step_pattern) if wanted.step_pattern else "",
        "contains": wanted.error_contains,
    }


def fitting_arguments(
    wanted: ExecutionFilter, steps: str = "", rule_key: int = 0
) -> dict[str, object]:
    """Return the parameters that ``FITS`` takes: ``steps`` is 'dead', 'withheld' or nothing."""
    return {
        **plain_arguments(wanted),
        **dead_arguments(wanted),
        "steps": steps,
        "rule_key": rule_key,
    }
