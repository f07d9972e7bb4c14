"""Reads what is in doubt of runs, for operations that would run steps again, and for reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple, TypeAlias

from zart_server.domain.doubt import Finding
from zart_server.domain.model import AttemptStatus, Step
from zart_server.store.connection import Connection, Tx
from zart_server.store.statement import Statement


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


def at_step(of: str) -> str:
    """Return the condition that an attempt in doubt is of the ``step_no`` of ``of``; NULL: of any.

    Beside its run's key, both are looked up in one index.
    """
    return f"""in_doubt.step_no
        BETWEEN COALESCE({of}.step_no, 0) AND COALESCE({of}.step_no, 2147483647)"""


_LOCK = Statement(
    f"""
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(:run_keys::bigint[], :step_nos::integer[]) u(run_key, step_no)
        ORDER BY run_key
    )
    SELECT d.run_key, d.step_no, d.attempt, d.ended_as, d.finding, d.resolved_at FROM asked u
    CROSS JOIN LATERAL (
        SELECT * FROM zart.in_doubt WHERE in_doubt.run_key = u.run_key AND {at_step("u")}
            AND (in_doubt.resolved_at IS NULL OR in_doubt.finding = 'happened')
        ORDER BY in_doubt.step_no, in_doubt.attempt OFFSET 0 FOR NO KEY UPDATE) d
    CROSS JOIN LATERAL (
        SELECT status FROM zart.steps
        WHERE steps.run_key = d.run_key AND steps.step_no = d.step_no OFFSET 0) s
    WHERE s.status <> 'completed'
    """,
    locks=("in_doubt",),
)


async def lock_doubts(tx: Tx, steps: Sequence[tuple[int, int | None]]) -> list[StoredDoubt]:
    """Read attempts of unfinished steps that are in doubt or have happened, and lock these rows.

    In order, of a step by its run's key and its number; None: of all steps of the run, which is
    asked for once. The caller has locked the runs: whoever resolves one is waited for here.
    """
    rows = await tx.fetch(
        _LOCK.text,
        *_LOCK.arguments(
            run_keys=[run_key for run_key, _ in steps], step_nos=[step_no for _, step_no in steps]
        ),
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


_OPEN = Statement(
    f"""
    SELECT d.run_key, d.step_no, d.attempt
    FROM unnest(:run_keys::bigint[], :step_nos::integer[]) u(run_key, step_no)
    CROSS JOIN LATERAL (
        SELECT * FROM zart.in_doubt
        WHERE in_doubt.run_key = u.run_key AND {at_step("u")} OFFSET 0) d
    WHERE d.resolved_at IS NULL
    """
)


async def open_doubts(
    connection: Connection, steps: Sequence[tuple[int, int | None]]
) -> dict[int, InDoubt]:
    """Return the attempts that are in doubt now, by run key.

    Of a step by its run's key and its number; None: of all steps of the run.
    """
    run_keys, step_nos = zip(*steps, strict=True)
    found: dict[int, dict[int, set[int]]] = {}
    values = _OPEN.arguments(run_keys=run_keys, step_nos=step_nos)
    for row in await connection.fetch(_OPEN.text, *values):
        found.setdefault(row[0], {}).setdefault(row[1], set()).add(row[2])
    return dict(found)
