"""Runs that begin from scratch: all their steps, and what is ready of them, in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zart_server.store.db import Tx
from zart_server.store.rules import SHARED_EPOCH


class Root(NamedTuple):
    """A step of a definition that depends on nothing, as it is queued."""

    definition_key: int
    step_no: int
    lane: int
    step_name: str
    max_attempts: int
    timeout_seconds: float


_STEPS = """
    INSERT INTO zart.steps (run_key, step_no, status, pending_deps)
    SELECT run_key, c.no - 1, 'open', c.deps
    FROM {new} JOIN zart.definitions USING (definition_key)
    CROSS JOIN LATERAL unnest(dep_counts) WITH ORDINALITY c(deps, no)
"""


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
    roots: Sequence[Root],
    held: Sequence[tuple[int, int, int]],
    epoch: int,
    *,
    with_steps: bool,
) -> bool:
    """Queue or hold the roots of new runs, (run key, definition key), and insert all their steps.

    ``held`` gives, as (run key, step number, rule key), the roots that a rule withholds by the
    rules of ``epoch``; False, doing nothing, where these have changed since. Takes the pause lock,
    shared, before it looks.
    """
    is_new: bool = await tx.fetchval(
        f"""
        WITH now AS MATERIALIZED (SELECT {SHARED_EPOCH} AS epoch), new AS MATERIALIZED (
            SELECT u.* FROM unnest($1::bigint[], $2::bigint[])
                WITH ORDINALITY u(run_key, definition_key, n)
            WHERE $3 = (SELECT epoch FROM now)
        ){f", steps AS ({_STEPS.format(new='new')})" if with_steps else ""}, ready AS MATERIALIZED (
            SELECT run_key, step_no, lane, step_name, max_attempts, timeout_seconds, rule_key, n
            FROM new
            JOIN unnest($4::bigint[], $5::integer[], $6::integer[], $7::text[], $8::integer[],
                        $9::float8[])
                d(definition_key, step_no, lane, step_name, max_attempts, timeout_seconds)
                USING (definition_key)
            LEFT JOIN unnest($10::bigint[], $11::integer[], $12::bigint[])
                h(run_key, step_no, rule_key) USING (run_key, step_no)
        ), queued AS (
            INSERT INTO zart.queue ({_READY}) SELECT {_VALUES} FROM ready
            WHERE rule_key IS NULL ORDER BY n, step_no
        ), held AS (
            INSERT INTO zart.held ({_READY}, rule_key) SELECT {_VALUES}, rule_key FROM ready
            WHERE rule_key IS NOT NULL ORDER BY n, step_no
        )
        SELECT $3 = epoch FROM now
        """,
        [run_key for run_key, _ in runs],
        [definition_key for _, definition_key in runs],
        epoch,
        *_columns(roots, 6),
        *_columns(held, 3),
    )
    return is_new


_READY = """run_key, step_no, lane, attempt, counted, backoff_base, max_attempts, timeout_seconds,
    queue_no, not_before, scheduled_at, step_name"""
_VALUES = """run_key, step_no, lane, 1, 0, 0, max_attempts, timeout_seconds,
    nextval('zart.queue_numbers'), statement_timestamp(), statement_timestamp(), step_name"""


def _columns(rows: Sequence[tuple[object, ...]], count: int) -> list[list[object]]:
    return [[row[n] for row in rows] for n in range(count)]
