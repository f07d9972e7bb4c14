"""What a filter selects for a batch: executions, or steps of their current runs, page by page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from zart_server.domain.filters import ExecutionFilter
from zart_server.domain.model import RunStatus, StepStatus
from zart_server.store.connection import Connection
from zart_server.store.reads.as_of import ENDED, WAS_SCHEDULED, WAS_WITHHELD, was_paused
from zart_server.store.reads.few_runs import rule_key_of
from zart_server.store.reads.filtered import find_filtered
from zart_server.store.reads.fitting import (
    DEAD_THAT_FIT,
    EXECUTION_ID,
    HELD_BY_RULE,
    HELD_PAUSED,
    NOWHERE,
    QUEUED_BY_RULE,
    QUEUED_PAUSED,
    SETTLING,
    WORK,
    dead_arguments,
)
from zart_server.store.statement import Statement

_LATEST = datetime.max.replace(tzinfo=UTC)


class Selected(NamedTuple):
    """A current run by its keys; ``step_no`` None: as a whole."""

    execution_key: int
    run_key: int
    step_no: int | None


class SelectedPage(NamedTuple):
    """A part of what a filter selects; ``next_key`` is where the next one begins, None: nowhere."""

    items: list[Selected]
    next_key: int | None


def _of(table: str, condition: str, at: str) -> str:
    return f"""SELECT t.step_no FROM zart.{table} t
        WHERE t.run_key = c.run_key AND t.{at} <= :as_of AND ({condition})"""


_RUNS = """
    FROM unnest(:run_keys::bigint[]) WITH ORDINALITY u(run_key, n) CROSS JOIN LATERAL (
        SELECT run_key, execution_key, listed_task, run_number, status, created_at, started_at,
            completed_at
        FROM zart.runs WHERE run_key = u.run_key OFFSET 0) c
"""
# What is on record since then of a run that is RUNNING: whether it was FAILED and was made to go
# on, and whether a step was retried.
_SINCE = f"""
    CROSS JOIN LATERAL (
        SELECT bool_or(replaced->>'status' = 'failed') AS was_failed,
            bool_or(kind = 'retry_step') AS has_retried
        FROM zart.operations o
        WHERE :asks_since::boolean AND c.status = 'running' AND execution_id = {EXECUTION_ID}
          AND kind IN ('retry_step', 'complete_step', 'fail_step')
          AND o.run_number = c.run_number AND o.created_at > :as_of::timestamptz) f
"""
# A run has been in its state since then: it began, ended and, where it is to be RUNNING, started
# before it; nor was it FAILED.
_AS_OF = """c.created_at <= :as_of
      AND COALESCE(c.completed_at <= :as_of, true)
      AND CASE WHEN :asks_started::boolean THEN COALESCE(c.started_at <= :as_of, true)
          ELSE true END
      AND (NOT :asks_failed::boolean OR f.was_failed IS NOT TRUE)"""
_WHOLE = Statement(f"""
    SELECT c.execution_key, c.run_key, NULL::integer {_RUNS} {_SINCE}
    WHERE {_AS_OF} ORDER BY u.n
""")
_PAUSED = f"WHEN {{}} THEN CASE WHEN :paused::boolean THEN {was_paused('{}')} ELSE false END"
_SCHEDULED = f"WHEN :scheduled::boolean THEN {WAS_SCHEDULED} ELSE false"
_QUEUED = f"CASE {_PAUSED.format(QUEUED_PAUSED, SETTLING)} {_SCHEDULED} END"
_HELD = f"CASE {_PAUSED.format(HELD_PAUSED, 't.rule_key')} {_SCHEDULED} END"
_WITHHELD = f"CASE WHEN {{}} THEN {WAS_WITHHELD} ELSE false END"
_HELD_BY_RULE = f":rule_key::bigint > 0 AND {_WITHHELD.format(HELD_BY_RULE)}"
_QUEUED_BY_RULE = f""":rule_key > 0 AND (SELECT yes FROM settling)
        AND {_WITHHELD.format(QUEUED_BY_RULE)}"""
# Of a run that is FAILED no step but a dead one is in a state as a filter has it: whatever the
# statuses of executions that are asked for, no other is taken if it was FAILED since then. One that
# was failed by hand while it was PENDING, and retried, is so again: it is known by its attempt, and
# not taken as PENDING if any step of its run was retried since then.
_STEPS = Statement(f"""
    WITH settling AS MATERIALIZED (SELECT {WORK.format("settle")} AS yes), {ENDED}
    SELECT c.execution_key, c.run_key, s.step_no {_RUNS} {_SINCE}
    CROSS JOIN LATERAL (
        SELECT x.step_no FROM {DEAD_THAT_FIT} AND :dead::boolean AND x.died_at <= :as_of
        UNION ALL
        SELECT o.step_no FROM (
            {_of("leases", ":running::boolean", "started_at")}
            UNION ALL
            {_of("queue", _QUEUED, "scheduled_at")}
            UNION ALL
            {_of("held", _HELD, "scheduled_at")}
            UNION ALL
            SELECT t.step_no FROM zart.steps t
            WHERE t.run_key = c.run_key AND :pending::boolean AND t.status = 'open'
              AND (t.attempt = 0 OR f.has_retried IS NOT TRUE) AND {NOWHERE}
            UNION ALL
            SELECT t.step_no FROM zart.steps t
            WHERE t.run_key = c.run_key AND :completed::boolean AND t.status = 'completed'
              AND t.completed_at <= :as_of
            UNION ALL
            {_of("held", _HELD_BY_RULE, "scheduled_at")}
            UNION ALL
            {_of("queue", _QUEUED_BY_RULE, "scheduled_at")}
        ) o WHERE c.status IN ('scheduled', 'running')
          AND f.was_failed IS NOT TRUE
    ) s
    WHERE {_AS_OF} ORDER BY u.n, s.step_no
""")
_STATES = (
    StepStatus.DEAD,
    StepStatus.RUNNING,
    StepStatus.SCHEDULED,
    StepStatus.PAUSED,
    StepStatus.PENDING,
    StepStatus.COMPLETED,
)


async def select_page(
    connection: Connection,
    wanted: ExecutionFilter,
    after_key: int | None,
    limit: int,
    *,
    as_of: datetime | None = None,
) -> SelectedPage:
    """Return what a filter selects of the next executions, ``limit`` of them at most.

    With conditions on steps there is an item for each step that meets them all, else one for each
    execution. ``as_of``: only what has been as it is since then. The key of an execution says where
    a page begins; a page may be empty although others follow. Raises as ``find_filtered``.
    """
    found = await find_filtered(connection, wanted, after_key, limit + 1)
    run_keys = [run.run_key for run in found.runs[:limit]]
    until = found.next_key(limit)
    if not run_keys:
        return SelectedPage([], until)
    values: dict[str, object] = {"run_keys": run_keys, "as_of": as_of or _LATEST}
    are_running = RunStatus.RUNNING in wanted.statuses
    values["asks_started"] = are_running and RunStatus.SCHEDULED not in wanted.statuses
    values["asks_failed"] = are_running and RunStatus.FAILED not in wanted.statuses
    values["asks_since"] = values["asks_failed"]
    statement = _WHOLE
    if wanted.has_step_conditions:
        statement = _STEPS
        states = () if wanted.rule_id else wanted.states
        values |= dead_arguments(wanted) | {state.value: state in states for state in _STATES}
        values["asks_since"] = values["asks_failed"] or set(states) != {StepStatus.DEAD}
        values["asks_paused"] = StepStatus.SCHEDULED not in states
        values["asks_scheduled"] = StepStatus.PAUSED not in states
        values["rule_key"] = await rule_key_of(connection, wanted.rule_id) if wanted.rule_id else 0
    rows = await connection.fetch(statement.text, *statement.arguments(**values))
    return SelectedPage([Selected(*row) for row in rows], until)
