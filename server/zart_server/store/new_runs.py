"""Runs that begin from scratch: all their steps, and what is ready of them."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.store.db import Tx
from zart_server.store.rules import SHARED_EPOCH

_STEPS = """
    INSERT INTO zart.steps (run_key, step_no, status, pending_deps)
    SELECT run_key, c.no - 1, 'open', c.deps
    FROM {new} JOIN zart.definitions USING (definition_key)
    CROSS JOIN LATERAL unnest(dep_counts) WITH ORDINALITY c(deps, no)
"""
_READY = """run_key, step_no, lane, attempt, counted, backoff_base, max_attempts, timeout_seconds,
    queue_no, not_before, scheduled_at, step_name"""
_VALUES = """run_key, step_no, lane, 1, 0, 0, max_attempts, timeout_seconds,
    nextval('zart.queue_numbers'), statement_timestamp(), statement_timestamp(), step_name"""


async def insert_steps(tx: Tx, runs: Sequence[tuple[int, int]]) -> None:
    """Insert all steps of new runs, given as (run key, definition key), from their graphs."""
    await tx.execute(
        _STEPS.format(new="unnest($1::bigint[], $2::bigint[]) new(run_key, definition_key)"),
        [run_key for run_key, _ in runs],
        [definition_key for _, definition_key in runs],
    )


async def insert_new_runs(
    tx: Tx,
    runs: Sequence[tuple[int, int]],
    rules: Sequence[int],
    epoch: int,
    *,
    with_steps: bool,
) -> bool:
    """Queue or hold the roots of new runs, (run key, definition key), and insert all their steps.

    ``rules`` gives, root for root of run after run, the key of the rule of ``epoch`` that withholds
    it, or 0; it may be empty where none does. False, doing nothing, where the rules have changed
    since. Takes the pause lock, shared, before it looks.
    """
    steps = f", steps AS ({_STEPS.format(new='new')})" if with_steps else ""
    is_new: bool = await tx.fetchval(
        f"""
        WITH now AS MATERIALIZED (SELECT {SHARED_EPOCH} AS epoch), new AS MATERIALIZED (
            SELECT u.* FROM unnest($1::bigint[], $2::bigint[])
                WITH ORDINALITY u(run_key, definition_key, n)
            WHERE $3 = (SELECT epoch FROM now)
        ){steps}, ready AS MATERIALIZED (
            SELECT run_key, s.no - 1 AS step_no, s.lane, s.step_name, s.max_attempts,
                s.timeout_seconds,
                COALESCE(($4::bigint[])[row_number() OVER (ORDER BY n, s.no)], 0) AS rule_key
            FROM new JOIN zart.definitions d USING (definition_key)
            CROSS JOIN LATERAL unnest(
                d.dep_counts, d.lanes, d.step_names, d.max_attempts, d.timeout_seconds)
                WITH ORDINALITY s(deps, lane, step_name, max_attempts, timeout_seconds, no)
            WHERE s.deps = 0
        ), queued AS (
            INSERT INTO zart.queue ({_READY}) SELECT {_VALUES} FROM ready WHERE rule_key = 0
        ), held AS (
            INSERT INTO zart.held ({_READY}, rule_key) SELECT {_VALUES}, rule_key FROM ready
            WHERE rule_key > 0
        )
        SELECT $3 = epoch FROM now
        """,
        [run_key for run_key, _ in runs],
        [definition_key for _, definition_key in runs],
        epoch,
        rules,
    )
    return is_new
