"""Reads what was found to have happened in earlier runs, after the run at hand had begun.

A run that follows one in doubt was accepted with what was known by then: an earlier run's open
doubts keep nothing from being run again, nor do findings from before the run at hand was created.
Steps of the two runs are the same by their names, for their definitions may differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zart_server.domain.doubt import Finding
from zart_server.domain.model import AttemptStatus
from zart_server.store.connection import Tx
from zart_server.store.doubt.reading import StoredDoubt
from zart_server.store.statement import Statement

# Of a run i, with its execution_key, run_number and definition_key: steps that it has not
# completed, by their numbers in it. Each lookup is of what the one before it has found.
FOUND_SINCE = """
    SELECT n.step_no, d.attempt, d.ended_as, d.ended_at, d.resolved_at, d.run_number,
        d.late_status, d.late_result
    FROM (
        SELECT run_key FROM zart.runs WHERE i.run_number > 0
            AND runs.execution_key = i.execution_key AND runs.run_number < i.run_number
        OFFSET 0) e
    CROSS JOIN LATERAL (
        SELECT * FROM zart.in_doubt WHERE in_doubt.run_key = e.run_key OFFSET 0) d
    CROSS JOIN LATERAL (
        SELECT created_at < d.resolved_at AS is_news FROM zart.runs
        WHERE runs.run_key = i.run_key OFFSET 0) c
    CROSS JOIN LATERAL (
        SELECT array_position(step_names, d.step_name) - 1 AS step_no FROM zart.definitions
        WHERE definitions.definition_key = i.definition_key OFFSET 0) n
    CROSS JOIN LATERAL (
        SELECT status FROM zart.steps
        WHERE steps.run_key = i.run_key AND steps.step_no = n.step_no OFFSET 0) s
    WHERE d.finding = 'happened' AND c.is_news AND s.status <> 'completed'
"""
# Those in doubt are locked as well: who resolves one meanwhile does so after the next run was
# created, by the clock, too.
_LOCK = Statement(
    """
    SELECT run_key FROM zart.in_doubt WHERE run_key = ANY(ARRAY(
            SELECT e.run_key
            FROM unnest(:execution_keys::bigint[], :run_numbers::integer[])
                u(execution_key, run_number)
            CROSS JOIN LATERAL (
                SELECT run_key FROM zart.runs WHERE runs.execution_key = u.execution_key
                    AND runs.run_number < u.run_number OFFSET 0) e))
        AND (resolved_at IS NULL OR finding = 'happened')
    ORDER BY run_key, step_no, attempt FOR NO KEY UPDATE
    """,
    locks=("in_doubt",),
)
_READ = Statement(
    f"""
    SELECT i.run_key, f.step_no, f.attempt, f.ended_as, f.resolved_at, f.run_number
    FROM unnest(:run_keys::bigint[]) u(run_key)
    CROSS JOIN LATERAL (
        SELECT run_key, execution_key, run_number, definition_key FROM zart.runs
        WHERE runs.run_key = u.run_key OFFSET 0) i
    CROSS JOIN LATERAL ({FOUND_SINCE}) f
    """
)


class Later(NamedTuple):
    """A current run that follows others."""

    run_key: int
    execution_key: int
    run_number: int


async def read_found_since(tx: Tx, runs: Sequence[Later]) -> list[StoredDoubt]:
    """Read attempts of earlier runs that were found to have happened since these were created.

    Of steps that these have not completed, by the numbers that they have there. Locks the attempts
    of all earlier runs that have happened or are in doubt, in order; the caller has locked the
    executions.
    """
    if not runs:
        return []
    values = _LOCK.arguments(
        execution_keys=[run.execution_key for run in runs],
        run_numbers=[run.run_number for run in runs],
    )
    if not await tx.fetch(_LOCK.text, *values):
        return []
    arguments = _READ.arguments(run_keys=[run.run_key for run in runs])
    return [
        StoredDoubt(
            row["run_key"],
            row["step_no"],
            row["attempt"],
            AttemptStatus(row["ended_as"]),
            Finding.HAPPENED,
            row["resolved_at"],
            row["run_number"],
        )
        for row in await tx.fetch(_READ.text, *arguments)
    ]
