"""Counts what a batch would select, by what would become of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.batch_plans import ItemState
from zart_server.domain.batches import BatchKind
from zart_server.domain.model import RunStatus, StepStatus
from zart_server.store.batches.selecting import SELECTED, Found
from zart_server.store.connection import Connection
from zart_server.store.definitions import find_definitions
from zart_server.store.doubt.earlier import FOUND_SINCE
from zart_server.store.statement import Statement


class SelectedKind(NamedTuple):
    """Items whose runs have the same definition, and that stand alike.

    ``executions``: those of which it has the first item.
    """

    definition_key: int
    state: ItemState
    items: int
    executions: int
    sample_execution_ids: tuple[str, ...]


# How the step of an item i stands; an execution has none.
_STEP_STATUS = {
    "steps": """(
        SELECT CASE WHEN s.status <> 'open' THEN s.status
            WHEN (SELECT true FROM zart.leases
                WHERE leases.run_key = i.run_key AND leases.step_no = i.step_no LIMIT 1)
            THEN 'running' END
        FROM zart.steps s WHERE s.run_key = i.run_key AND s.step_no = i.step_no)""",
    "executions": "NULL::text",
}
# Whether an attempt of its step is in doubt, or has happened, in an earlier run, too, if that was
# found since; of an execution, one of a step that is not completed.
_DOUBTS = f"""
    SELECT COALESCE(bool_or(k.is_open), false) AS is_doubted,
        COALESCE(bool_or(k.happened), false) AS has_happened
    FROM (
        SELECT d.step_no, d.resolved_at IS NULL AS is_open, d.finding = 'happened' AS happened
        FROM (
            SELECT step_no, resolved_at, finding FROM zart.in_doubt
            WHERE in_doubt.run_key = i.run_key OFFSET 0) d
        CROSS JOIN LATERAL (
            SELECT status FROM zart.steps
            WHERE steps.run_key = i.run_key AND steps.step_no = d.step_no OFFSET 0) s
        WHERE s.status <> 'completed'
        UNION ALL
        SELECT f.step_no, false, true FROM ({FOUND_SINCE}) f) k
    WHERE i.step_no < 0 OR k.step_no = i.step_no
"""
# Whether what ends the run of an execution makes doubts: an attempt is in flight of a step that is
# not to run twice, :stops with their definitions.
_MAKES_DOUBTS = {
    "steps": "false",
    "executions": """COALESCE((
        SELECT bool_or(((i.definition_key, l.step_no) IN (
            SELECT definition_key, step_no
            FROM unnest(:stop_definitions::bigint[], :stops::integer[]) s(definition_key, step_no)
        )) IS TRUE)
        FROM (
            SELECT step_no FROM zart.leases
            WHERE leases.run_key = i.run_key AND cardinality(:stops::integer[]) > 0
            OFFSET 0) l), false)""",
}
_COUNT = {
    name: Statement(
        f"""
        SELECT definition_key, run_status, step_status, is_doubted OR makes_doubts AS is_doubted,
            has_happened,
            count(*)::integer AS items, count(*) FILTER (WHERE nth = 1)::integer AS executions,
            (array_agg(execution_id ORDER BY n))[1:5] AS sample
        FROM (
            SELECT i.*, d.*, {_STEP_STATUS[name]} AS step_status,
                {_MAKES_DOUBTS[name]} AS makes_doubts,
                row_number() OVER (PARTITION BY execution_key ORDER BY n, step_no) AS nth
            FROM ({selected}) i CROSS JOIN LATERAL ({_DOUBTS}) d) k
        GROUP BY definition_key, run_status, step_status, is_doubted OR makes_doubts, has_happened
        """
    )
    for name, selected in SELECTED.items()
}
_UNFINISHED = Statement(
    """
    SELECT DISTINCT r.definition_key FROM unnest(:run_keys::bigint[]) u(run_key)
    CROSS JOIN LATERAL (
        SELECT definition_key, status FROM zart.runs WHERE runs.run_key = u.run_key OFFSET 0) r
    WHERE r.status IN ('scheduled', 'running')
    """
)


async def count_items(
    connection: Connection, kind: BatchKind, found: Found, as_of: datetime
) -> list[SelectedKind]:
    """Count the items that a piece would have, by what becomes of them."""
    values = {
        "run_keys": found.run_keys,
        "step_nos": found.step_nos,
        "are_named": found.are_named,
        "as_of": as_of,
    }
    if kind.is_of_steps:
        statement = _COUNT["steps"]
    else:
        statement = _COUNT["executions"]
        stops = await _stops(connection, found.run_keys) if kind.makes_runs else []
        values["stop_definitions"] = [key for key, _ in stops]
        values["stops"] = [step_no for _, step_no in stops]
    rows = await connection.fetch(statement.text, *statement.arguments(**values))
    return [
        SelectedKind(
            row["definition_key"],
            ItemState(
                RunStatus(row["run_status"]),
                None if row["step_status"] is None else StepStatus(row["step_status"]),
                row["is_doubted"],
                row["has_happened"],
            ),
            row["items"],
            row["executions"],
            tuple(row["sample"]),
        )
        for row in rows
    ]


async def _stops(connection: Connection, run_keys: Sequence[int]) -> list[tuple[int, int]]:
    """Return the steps that are not to run twice, of the definitions of unfinished runs."""
    values = _UNFINISHED.arguments(run_keys=run_keys)
    keys = [row[0] for row in await connection.fetch(_UNFINISHED.text, *values)]
    definitions = await find_definitions(connection, keys)
    return [(key, number) for key in keys for number in sorted(definitions[key].stops)]
