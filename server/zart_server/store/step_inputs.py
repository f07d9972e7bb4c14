"""Corrected inputs of steps: what an operator put in the place of the definition's, for one run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zart_server.store.connection import Connection, Tx
from zart_server.store.statement import Statement


class InputKey(NamedTuple):
    """Names a corrected input: the run that it was given in, and its number there, from 1."""

    run_key: int
    step_no: int
    correction: int

    @classmethod
    def of(
        cls, run_key: int, step_no: int, correction: int, source_run_key: int | None
    ) -> InputKey:
        """Return where the corrected input of a step stands, by the step's row.

        That of a preserved step stands in the run that its result was made in.
        """
        return cls(run_key if source_run_key is None else source_run_key, step_no, correction)


async def read_inputs(
    connection: Connection, wanted: Sequence[InputKey], at_most: int | None = None
) -> dict[InputKey, tuple[str | None, int]]:
    """Read corrected inputs: the text, None where it has over ``at_most`` bytes, and its size."""
    rows = await connection.fetch(
        """
        SELECT i.* FROM unnest($1::bigint[], $2::integer[], $3::integer[]) u(r, s, c)
        CROSS JOIN LATERAL (
            SELECT run_key, step_no, correction,
                CASE WHEN $4::integer IS NULL OR octet_length(input::text) <= $4 THEN input END,
                octet_length(input::text)
            FROM zart.step_inputs
            WHERE run_key = r AND step_no = s AND correction = c OFFSET 0) i
        """,
        *_columns(wanted),
        at_most,
    )
    return {InputKey(*row[:3]): (row[3], row[4]) for row in rows}


async def input_of_step(connection: Connection, run_key: int, step_no: int) -> InputKey | None:
    """Return where the input of a step of a run stands, if it was corrected."""
    row = await connection.fetchrow(
        "SELECT correction, source_run_key FROM zart.steps WHERE run_key = $1 AND step_no = $2",
        run_key,
        step_no,
    )
    return None if row is None or row[0] is None else InputKey.of(run_key, step_no, *row)


class NewInput(NamedTuple):
    """The input that a step of a new run begins with: its text, or else where it is kept from."""

    run_key: int
    step_no: int
    text: str | None
    kept: InputKey | None = None


_NOTHING = InputKey(0, 0, 0)


_INSERT = Statement(
    """
    INSERT INTO zart.step_inputs (run_key, step_no, correction, input)
    SELECT u.run_key, u.step_no, 1, COALESCE(u.text::json, kept.input)
    FROM unnest(:run_keys::bigint[], :step_nos::integer[], :texts::text[], :kept_runs::bigint[],
        :kept_steps::integer[], :kept_corrections::integer[]) u(run_key, step_no, text, r, s, c)
    LEFT JOIN LATERAL (
        SELECT input FROM zart.step_inputs
        WHERE run_key = u.r AND step_no = u.s AND correction = u.c OFFSET 0) kept ON true
    """
)


async def insert_first_inputs(tx: Tx, inputs: Sequence[NewInput]) -> None:
    """Insert the corrected inputs that steps of new runs begin with, as their first corrections."""
    run_keys, step_nos, corrections = _columns([item.kept or _NOTHING for item in inputs])
    values = _INSERT.arguments(
        run_keys=[item.run_key for item in inputs],
        step_nos=[item.step_no for item in inputs],
        texts=[item.text for item in inputs],
        kept_runs=run_keys,
        kept_steps=step_nos,
        kept_corrections=corrections,
    )
    await tx.execute(_INSERT.text, *values)


def _columns(keys: Sequence[InputKey]) -> tuple[list[int], list[int], list[int]]:
    return (
        [key.run_key for key in keys],
        [key.step_no for key in keys],
        [key.correction for key in keys],
    )
