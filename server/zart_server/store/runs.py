"""Runs: the mutex of their steps, and the state that callers see."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from zart_server.domain.model import Run, RunStatus, RunTrigger
from zart_server.store.arrays import numbers
from zart_server.store.connection import Connection, Tx
from zart_server.store.lookups import IF_LOCKED, UNINDEXED_STATUS, if_locked, only
from zart_server.store.statement import Statement

RUN_COLUMNS = """run_key, execution_key, run_number, definition_key, status, "trigger",
    triggered_by, principal, reason, source_run_number, dead_steps, error, created_at, started_at,
    completed_at, by_hand"""


class RunRow(NamedTuple):
    """A run, without its payload, by its keys.

    ``by_hand``: an operator has ended a step of it.
    """

    run_key: int
    execution_key: int
    run_number: int
    definition_key: int
    status: RunStatus
    trigger: RunTrigger
    triggered_by: str
    principal: str
    reason: str
    source_run_number: int | None
    dead_steps: int
    error: str
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    by_hand: bool

    @classmethod
    def from_values(cls, values: Iterable[Any]) -> RunRow:
        """Make it of the values of ``RUN_COLUMNS``."""
        found = cls(*values)
        return found._replace(status=RunStatus(found.status), trigger=RunTrigger(found.trigger))

    def to_run(self, execution_id: str, definition_version: int) -> Run:
        """Return the run as callers see it, without payload and result."""
        return Run(
            execution_id=execution_id,
            run_number=self.run_number,
            status=self.status,
            trigger=self.trigger,
            triggered_by=self.triggered_by,
            principal=self.principal,
            reason=self.reason,
            definition_version=definition_version,
            source_run_number=self.source_run_number,
            error=self.error,
            created_at=self.created_at,
            started_at=self.started_at,
            completed_at=self.completed_at,
        )


class LockedRun(NamedTuple):
    """The changing part of a run that a report has locked.

    ``by_hand``: an operator has ended a step of it, so it goes by the rows of its steps.
    """

    run_key: int
    dead_steps: int
    status: str
    by_hand: bool


async def run_exists(connection: Connection, execution_key: int, run_number: int) -> bool:
    """Return whether an execution has a run of this number."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM zart.runs WHERE execution_key = $1 AND run_number = $2)",
        execution_key,
        run_number,
    )
    return found


LOCKING = """
    SELECT run_key, dead_steps, status, by_hand FROM zart.runs
    WHERE run_key = ANY(:locked::text::bigint[])
    ORDER BY run_key FOR NO KEY UPDATE
"""
_LOCK_RUNS = {
    way: Statement(
        f"{LOCKING} {skip}",
        locks=(f"runs, {way}",),
    )
    for way, skip in IF_LOCKED.items()
}


async def lock_runs(tx: Tx, run_keys: Iterable[int], *, wait: bool) -> dict[int, LockedRun]:
    """Lock runs in key order; those that others have locked are waited for or left out."""
    statement = _LOCK_RUNS[if_locked(wait=wait)]
    keys = numbers(sorted(set(run_keys)))
    rows = await tx.fetch(statement.text, *statement.arguments(locked=keys))
    locked = {row[0]: LockedRun(*row) for row in rows}
    tx.changes.changed(locked)
    return locked


async def differing_payloads(
    connection: Connection, pairs: Collection[tuple[int, int]]
) -> set[tuple[int, int]]:
    """Return those pairs of runs whose payloads are not the same text, compared where they stand.

    One that is written differently may say the same all the same.
    """
    if not pairs:
        return set()
    rows = await connection.fetch(
        """
        SELECT u.* FROM unnest($1::bigint[], $2::bigint[]) u(one, other)
        CROSS JOIN LATERAL (
            SELECT CASE WHEN payload IS NULL THEN payload_run_key ELSE run_key END AS run_key
            FROM zart.runs WHERE run_key = u.one OFFSET 0) a
        CROSS JOIN LATERAL (
            SELECT CASE WHEN payload IS NULL THEN payload_run_key ELSE run_key END AS run_key
            FROM zart.runs WHERE run_key = u.other OFFSET 0) b
        LEFT JOIN LATERAL (
            SELECT payload FROM zart.runs WHERE run_key = a.run_key OFFSET 0) c ON true
        LEFT JOIN LATERAL (
            SELECT payload FROM zart.runs WHERE run_key = b.run_key OFFSET 0) d ON true
        WHERE a.run_key IS DISTINCT FROM b.run_key
          AND c.payload::text IS DISTINCT FROM d.payload::text
        """,
        *zip(*pairs, strict=True),
    )
    return {(row[0], row[1]) for row in rows}


async def start_runs(tx: Tx, run_keys: Sequence[int]) -> None:
    """Move runs from SCHEDULED to RUNNING at their first lease, skipping locked ones.

    The next transaction that locks a skipped run sets it running (reports do).
    """
    await tx.execute(
        f"""
        UPDATE zart.runs SET status = 'running', started_at = statement_timestamp()
        WHERE run_key = ANY(ARRAY(
            SELECT r.run_key FROM unnest($1::text::bigint[]) u(run_key) CROSS JOIN LATERAL (
                SELECT run_key FROM zart.runs
                WHERE run_key = u.run_key AND {UNINDEXED_STATUS} = 'scheduled'
                FOR NO KEY UPDATE SKIP LOCKED) r))
          AND {UNINDEXED_STATUS} = 'scheduled'
        """,
        numbers(run_keys),
    )


async def finish_runs(tx: Tx, run_keys: Sequence[int]) -> None:
    """Finish those of the runs, all locked by this transaction, in which no step can go on.

    A pending step waits for one that is not completed; with no task queued, paused or leased that
    chain ends in a dead step. So such a run is FAILED when it has one, and COMPLETED otherwise.
    """
    rows = await tx.fetch(
        f"""
        WITH finished AS MATERIALIZED (
            SELECT r.run_key, CASE WHEN r.dead_steps = 0 THEN 'completed' ELSE 'failed' END
                AS status, CASE WHEN r.dead_steps > 0 THEN (
                    SELECT d.step_names[s.step_no + 1]
                        || COALESCE(': ' || COALESCE(
                            NULLIF(s.error->>'message', ''), NULLIF(s.error->>'type', '')), '')
                    FROM zart.steps s JOIN zart.definitions d
                        ON d.definition_key = r.definition_key
                    WHERE s.run_key = r.run_key AND s.status = 'dead'
                    ORDER BY s.completed_at, s.step_no LIMIT 1) END AS error
            FROM unnest($1::text::bigint[]) u(run_key) CROSS JOIN LATERAL (
                SELECT run_key, status, dead_steps, definition_key FROM zart.runs
                WHERE run_key = u.run_key OFFSET 0) r
            WHERE r.status IN ('scheduled', 'running')
              AND (SELECT true FROM zart.queue WHERE run_key = r.run_key LIMIT 1) IS NULL
              AND (SELECT true FROM zart.leases WHERE run_key = r.run_key LIMIT 1) IS NULL
              AND (SELECT true FROM zart.held WHERE run_key = r.run_key LIMIT 1) IS NULL
        )
        UPDATE zart.runs r SET status = f.status, error = COALESCE(f.error, ''),
            started_at = COALESCE(r.started_at, statement_timestamp()),
            completed_at = statement_timestamp()
        FROM finished f WHERE r.run_key = {only("f.run_key")}
        RETURNING r.run_key
        """,
        numbers(run_keys),
    )
    tx.changes.changed((row[0] for row in rows), at_once=True)


async def cancel_runs(tx: Tx, errors: Mapping[int, str]) -> dict[int, RunRow]:
    """Move unfinished runs, locked by this transaction, to CANCELLED; errors are by run key."""
    rows = await tx.fetch(
        f"""
        UPDATE zart.runs r
        SET status = 'cancelled', completed_at = statement_timestamp(), error = u.why
        FROM unnest($1::bigint[], $2::text[]) u(k, why)
        WHERE r.run_key = {only("u.k")}
          AND r.{UNINDEXED_STATUS} IN ('scheduled', 'running')
        RETURNING {RUN_COLUMNS}
        """,
        list(errors),
        list(errors.values()),
    )
    if len(rows) < len(errors):
        raise LookupError(f"not all runs of {sorted(errors)} are open")
    return {row["run_key"]: RunRow.from_values(row) for row in rows}
