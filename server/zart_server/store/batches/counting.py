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
from zart_server.store.doubt.earlier import HappenedEarlier, Later, read_found_since
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
    "steps": """
        SELECT CASE WHEN s.status <> 'open' THEN s.status
            WHEN (SELECT true FROM zart.leases
                WHERE leases.run_key = i.run_key AND leases.step_no = i.step_no LIMIT 1)
            THEN 'running' END AS step_status
        FROM zart.steps s WHERE s.run_key = i.run_key AND s.step_no = i.step_no OFFSET 0""",
    "executions": "SELECT NULL::text AS step_status",
}
# Whether an attempt of its step is in doubt, or has happened; of an execution, one of any step;
# while the step is not completed. What is asked of a step is looked up by its keys: of a run there
# may be thousands, and as many items.
_DOUBTS = {
    "steps": """
        SELECT resolved_at, finding FROM zart.in_doubt
        WHERE in_doubt.run_key = i.run_key AND in_doubt.step_no = i.step_no
            AND s.step_status IS DISTINCT FROM 'completed' OFFSET 0""",
    "executions": """
        SELECT d.resolved_at, d.finding
        FROM (
            SELECT step_no, resolved_at, finding FROM zart.in_doubt
            WHERE in_doubt.run_key = i.run_key OFFSET 0) d
        CROSS JOIN LATERAL (
            SELECT status FROM zart.steps
            WHERE steps.run_key = i.run_key AND steps.step_no = d.step_no OFFSET 0) c
        WHERE c.status <> 'completed'""",
}
# Whether one has happened in an earlier run, which was found since: :earlier_runs are the runs of
# items, with the steps that these have not completed.
_HAPPENED_EARLIER = {
    "steps": """((i.run_key, i.step_no) IN (
        SELECT * FROM unnest(:earlier_runs::bigint[], :earlier_steps::integer[]))) IS TRUE""",
    "executions": "(i.run_key IN (SELECT unnest(:earlier_runs::bigint[]))) IS TRUE",
}
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
            SELECT i.*, s.step_status, d.is_doubted,
                d.has_happened OR {_HAPPENED_EARLIER[name]} AS has_happened,
                {_MAKES_DOUBTS[name]} AS makes_doubts,
                row_number() OVER (PARTITION BY execution_key ORDER BY n, step_no) AS nth
            FROM ({selected}) i CROSS JOIN LATERAL ({_STEP_STATUS[name]}) s
            CROSS JOIN LATERAL (
                SELECT COALESCE(bool_or(resolved_at IS NULL), false) AS is_doubted,
                    COALESCE(bool_or(finding = 'happened'), false) AS has_happened
                FROM ({_DOUBTS[name]}) a) d) k
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
    earlier = []
    if kind.makes_runs or kind is BatchKind.RETRY_STEP:
        earlier = await _happened_earlier(connection, found)
    values["earlier_runs"] = [item.run_key for item in earlier]
    if kind.is_of_steps:
        statement = _COUNT["steps"]
        values["earlier_steps"] = [item.step_no for item in earlier]
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


async def _happened_earlier(connection: Connection, found: Found) -> list[HappenedEarlier]:
    """Return what has happened of runs before those of a piece, read once a run."""
    return await read_found_since(connection, [Later(key) for key in dict.fromkeys(found.run_keys)])


async def _stops(connection: Connection, run_keys: Sequence[int]) -> list[tuple[int, int]]:
    """Return the steps that are not to run twice, of the definitions of unfinished runs."""
    values = _UNFINISHED.arguments(run_keys=run_keys)
    keys = [row[0] for row in await connection.fetch(_UNFINISHED.text, *values)]
    definitions = await find_definitions(connection, keys)
    return [(key, number) for key in keys for number in sorted(definitions[key].stops)]
