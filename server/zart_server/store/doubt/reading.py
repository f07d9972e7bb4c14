"""Reads what is in doubt of runs, for operations that would run steps again, and for reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple, TypeAlias

from zart_server.domain.doubt import Finding
from zart_server.domain.model import AttemptStatus, Step
from zart_server.store.connection import Connection, Tx


class StoredDoubt(NamedTuple):
    """An attempt, by its keys, that may have had its effect, or has; RUNNING: it may yet.

    With ``run_number`` it is of that earlier run, and the keys are of the step that is the same in
    the run at hand.
    """

    run_key: int
    step_no: int
    attempt: int
    ended_as: AttemptStatus
    finding: Finding | None = None
    found_at: datetime | None = None
    run_number: int | None = None


async def read_doubts(tx: Tx, run_keys: Sequence[int]) -> list[StoredDoubt]:
    """Read attempts of unfinished steps that are in doubt or have happened, and lock these rows.

    In order. The caller has locked the runs: whoever resolves one is waited for here.
    """
    rows = await tx.fetch(
        """
        SELECT d.run_key, d.step_no, d.attempt, d.ended_as, d.finding, d.resolved_at FROM (
            SELECT * FROM zart.in_doubt WHERE run_key = ANY($1::bigint[])
              AND (resolved_at IS NULL OR finding = 'happened')
            ORDER BY run_key, step_no, attempt FOR NO KEY UPDATE) d
        CROSS JOIN LATERAL (
            SELECT status FROM zart.steps
            WHERE steps.run_key = d.run_key AND steps.step_no = d.step_no OFFSET 0) s
        WHERE s.status <> 'completed'
        """,
        run_keys,
    )
    return [
        StoredDoubt(
            row["run_key"],
            row["step_no"],
            row["attempt"],
            AttemptStatus(row["ended_as"]),
            None if row["finding"] is None else Finding(row["finding"]),
            row["resolved_at"],
        )
        for row in rows
    ]


async def read_in_flight(tx: Tx, steps: Collection[tuple[int, int]]) -> list[StoredDoubt]:
    """Read the attempts in flight of steps, by run key and step number."""
    rows = await tx.fetch(
        """
        SELECT l.run_key, l.step_no, l.attempt
        FROM unnest($1::bigint[], $2::integer[]) u(run_key, step_no)
        CROSS JOIN LATERAL (
            SELECT * FROM zart.leases WHERE leases.run_key = u.run_key
                AND leases.step_no = u.step_no OFFSET 0) l
        """,
        [run_key for run_key, _ in steps],
        [step_no for _, step_no in steps],
    )
    return [StoredDoubt(row[0], row[1], row[2], AttemptStatus.RUNNING) for row in rows]


InDoubt: TypeAlias = Mapping[int, Collection[int]]
"""The attempts in doubt of one run, by the number of their step."""


def in_doubt(step: Step, step_no: int, doubts: InDoubt | None) -> Step:
    """Return a step as it is, saying which of its attempts are in doubt."""
    of_step = doubts.get(step_no) if doubts else None
    if not of_step:
        return step
    attempts = tuple(
        replace(each, in_doubt=True) if each.attempt in of_step else each for each in step.attempts
    )
    return replace(step, in_doubt=True, attempts=attempts)


async def open_doubts(connection: Connection, run_keys: Iterable[int]) -> dict[int, InDoubt]:
    """Return the attempts of runs that are in doubt now, by run key."""
    found: dict[int, dict[int, set[int]]] = {}
    rows = await connection.fetch(
        "SELECT d.run_key, d.step_no, d.attempt FROM unnest($1::bigint[]) u(run_key)"
        " CROSS JOIN LATERAL (SELECT * FROM zart.in_doubt"
        " WHERE in_doubt.run_key = u.run_key OFFSET 0) d WHERE d.resolved_at IS NULL",
        sorted(set(run_keys)),
    )
    for row in rows:
        found.setdefault(row[0], {}).setdefault(row[1], set()).add(row[2])
    return dict(found)
