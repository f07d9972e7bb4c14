"""Reads which steps of a run may have happened, or have, to explain what is not completed."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.graph import Graph
from zart_server.domain.known_step import KnownDoubt
from zart_server.domain.model import AttemptStatus
from zart_server.store.connection import Tx
from zart_server.store.doubt.earlier import SHORT, Later, read_found_since
from zart_server.store.doubt.reading import at_step
from zart_server.store.statement import Statement

# Beside a step's number, so that thousands of results are not read for a hundred that are told.
_READ = Statement(
    f"""
    SELECT d.step_no, d.attempt, d.ended_as, d.ended_at, d.finding = 'happened' AS happened,
        d.late_status,
        CASE WHEN d.late_status = 'completed' AND d.step_no = ANY(:told::integer[])
                AND octet_length(d.late_result::text) <= {SHORT}
             THEN d.late_result::text END AS late_result
    FROM unnest(:step_nos::integer[]) u(step_no)
    CROSS JOIN LATERAL (
        SELECT * FROM zart.in_doubt
        WHERE in_doubt.run_key = :run_key::bigint AND {at_step("u")} OFFSET 0) d
    WHERE d.resolved_at IS NULL OR d.finding = 'happened' AND (
        SELECT status FROM zart.steps
        WHERE steps.run_key = d.run_key AND steps.step_no = d.step_no) <> 'completed'
    ORDER BY d.step_no, d.resolved_at IS NULL, d.attempt
    """
)


async def read_known_doubts(
    tx: Tx, run_key: int, numbers: Sequence[int], *, with_others: bool
) -> dict[int, KnownDoubt]:
    """Return the last attempt in doubt of each step of a run that has one, by step number.

    Of a step that has none, and is not completed, the last that was found to have happened. Of the
    steps ``numbers``, or ``with_others``, of which no late result is read.
    """
    wanted = [None] if with_others else numbers
    values = _READ.arguments(run_key=run_key, step_nos=wanted, told=numbers)
    return {
        row["step_no"]: KnownDoubt(
            row["attempt"],
            AttemptStatus(row["ended_as"]),
            row["ended_at"],
            bool(row["happened"]),
            None if row["late_status"] is None else AttemptStatus(row["late_status"]),
            row["late_result"],
        )
        for row in await tx.fetch(_READ.text, *values)
    }


async def read_happened_earlier(
    tx: Tx, run_key: int, graph: Graph, numbers: Sequence[int], *, with_others: bool
) -> dict[int, KnownDoubt]:
    """Return the last attempt of earlier runs that was found to have happened since a run began.

    By the number of a step of that run that is not completed: of ``numbers``, or ``with_others``.
    """
    names = [graph.steps[number].step_name for number in numbers]
    asked = [Later(run_key, *each) for each in zip(numbers, names, strict=True)]
    found = await read_found_since(tx, [Later(run_key)] if with_others else asked, names)
    return {
        item.step_no: KnownDoubt(
            item.attempt,
            item.ended_as,
            item.ended_at,
            happened=True,
            late_status=item.late_status,
            late_result=item.late_result,
            run_number=item.run_number,
        )
        for item in sorted(found, key=lambda item: (item.step_no, item.run_number, item.attempt))
    }
