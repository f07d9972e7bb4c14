"""Reads what was found to have happened in earlier runs, after the run at hand had begun.

A run that follows one in doubt was accepted with what was known by then: an earlier run's open
doubts keep nothing from being run again, nor do findings from before the run at hand was created.
Steps of the two runs are the same by their names, for their definitions may differ. The names of
many are looked up in the graph that is at hand: to PostgreSQL they are one long array, which it
would unpack and go through for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from zart_server.domain.model import AttemptStatus
from zart_server.store.connection import Connection, Tx
from zart_server.store.definitions import find_definitions
from zart_server.store.doubt.reading import at_step
from zart_server.store.statement import Statement
from zart_server.store.steps import step_statuses

SHORT = 4096  # bytes of a result that is told with a command


class Later(NamedTuple):
    """A run that may follow others, or only a step of it, by its number and its name."""

    run_key: int
    step_no: int | None = None
    step_name: str | None = None


class HappenedEarlier(NamedTuple):
    """An attempt of an earlier run, by the keys of the step that is the same in the run at hand.

    ``late_result``: if it was asked for, and is short.
    """

    run_key: int
    step_no: int
    attempt: int
    ended_as: AttemptStatus
    ended_at: datetime
    found_at: datetime
    run_number: int
    late_status: AttemptStatus | None
    late_result: str | None


def _found(which: str) -> str:
    """Return the statement that finds them, among ``which`` attempts in doubt.

    Each lookup is of what the one before it has found. A step has its own number in a run of
    another definition, -1 if it has none, which is looked for where something was in doubt at all.
    """
    return f"""
        WITH earlier AS MATERIALIZED (
            SELECT r.run_key, r.definition_key, r.created_at, e.run_key AS earlier_key,
                CASE WHEN u.step_name IS NULL OR e.definition_key = r.definition_key THEN u.step_no
                    ELSE COALESCE((
                        SELECT array_position(step_names, u.step_name) - 1 FROM zart.definitions
                        WHERE definitions.definition_key = e.definition_key AND (
                            SELECT true FROM zart.in_doubt WHERE in_doubt.run_key = e.run_key
                            LIMIT 1)), -1) END AS step_no
            FROM unnest(:run_keys::bigint[], :step_nos::integer[], :step_names::text[])
                u(run_key, step_no, step_name)
            CROSS JOIN LATERAL (
                SELECT run_key, execution_key, run_number, definition_key, created_at FROM zart.runs
                WHERE runs.run_key = u.run_key OFFSET 0) r
            CROSS JOIN LATERAL (
                SELECT run_key, definition_key FROM zart.runs WHERE r.run_number > 0
                    AND runs.execution_key = r.execution_key AND runs.run_number < r.run_number
                OFFSET 0) e
            ORDER BY earlier_key
        )
        SELECT e.run_key, e.definition_key, d.step_name, d.attempt, d.ended_as, d.ended_at,
            d.resolved_at, d.run_number, d.late_status,
            CASE WHEN d.late_status = 'completed' AND d.step_name = ANY(:told::text[])
                    AND octet_length(d.late_result::text) <= {SHORT}
                 THEN d.late_result::text END AS late_result
        FROM earlier e
        CROSS JOIN LATERAL (
            SELECT * FROM zart.in_doubt
            WHERE in_doubt.run_key = e.earlier_key AND {at_step("e")} {which}) d
        WHERE d.finding = 'happened' AND d.resolved_at > e.created_at
    """


_READ = Statement(_found("AND in_doubt.finding = 'happened' OFFSET 0"))
# Those in doubt are locked as well: who resolves one meanwhile does so after the next run was
# created, by the clock, too. OFFSET 0: else PostgreSQL asks first whether they have happened, and
# locks those only.
_LOCK = Statement(
    _found("""AND (in_doubt.resolved_at IS NULL OR in_doubt.finding = 'happened')
            ORDER BY in_doubt.step_no, in_doubt.attempt OFFSET 0 FOR NO KEY UPDATE"""),
    locks=("in_doubt",),
)


async def read_found_since(
    connection: Connection, asked: Sequence[Later], told: Sequence[str] = ()
) -> list[HappenedEarlier]:
    """Read attempts of earlier runs that were found to have happened since these were created.

    Of steps that these have not completed, by the numbers that they have there; late results of the
    steps ``told``, by name.
    """
    rows = await connection.fetch(_READ.text, *_READ.arguments(**_columns(asked), told=told))
    return await _unfinished(connection, rows)


async def lock_found_since(tx: Tx, asked: Sequence[Later]) -> list[HappenedEarlier]:
    """Read what ``read_found_since`` does, having locked that and what of it is in doubt, in order.

    The caller has locked the executions.
    """
    if not asked:
        return []
    rows = await tx.fetch(_LOCK.text, *_LOCK.arguments(**_columns(asked), told=()))
    return await _unfinished(tx, rows)


def _columns(asked: Sequence[Later]) -> dict[str, object]:
    return {
        "run_keys": [each.run_key for each in asked],
        "step_nos": [each.step_no for each in asked],
        "step_names": [each.step_name for each in asked],
    }


async def _unfinished(
    connection: Connection, rows: Sequence[asyncpg.Record]
) -> list[HappenedEarlier]:
    """Return what was found of steps that the runs at hand have, and have not completed."""
    if not rows:
        return []
    definitions = await find_definitions(connection, {row["definition_key"] for row in rows})
    found = []
    for row in rows:
        step_no = definitions[row["definition_key"]].graph.index.get(row["step_name"])
        if step_no is not None:
            found.append(_happened_earlier(row, step_no))
    steps = sorted({(item.run_key, item.step_no) for item in found})
    statuses = await step_statuses(connection, steps)
    left = {(run_key, step_no) for run_key, step_no, status in statuses if status != "completed"}
    return [item for item in found if (item.run_key, item.step_no) in left]


def _happened_earlier(row: asyncpg.Record, step_no: int) -> HappenedEarlier:
    return HappenedEarlier(
        row["run_key"],
        step_no,
        row["attempt"],
        AttemptStatus(row["ended_as"]),
        row["ended_at"],
        row["resolved_at"],
        row["run_number"],
        None if row["late_status"] is None else AttemptStatus(row["late_status"]),
        row["late_result"],
    )
