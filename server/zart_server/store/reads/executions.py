"""Reads an execution with one of its runs and the run's steps, in one statement."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

import asyncpg

from zart_server.domain.commands import ExecutionView
from zart_server.domain.errors import ExecutionNotFound, RunNotFound, StepNotFound, ZartError
from zart_server.domain.model import Execution, Run, RunStatus, RunTrigger, Step
from zart_server.store.connection import Connection, Tx
from zart_server.store.definitions import find_definitions
from zart_server.store.reads.results import result_of, run_result
from zart_server.store.reads.step_rows import RESULT_BYTES, STEPS
from zart_server.store.reads.steps import RunIdentity, read_in_doubt, read_steps, steps_of
from zart_server.store.reads.waiting import execution_waits, waits_for
from zart_server.store.reads.watched import DIGEST
from zart_server.store.statement import Statement
from zart_server.store.stored_graph import Definition

# The wanted runs, of which executions, of which numbers, NULL: the current one.
_RUN = """
    SELECT u.n, {digest} AS digest,
        NULL::integer AS only_step, e.execution_key, e.execution_id, e.task_name,
        e.created_at AS execution_created_at,
        c.run_number AS current_number, c.status AS current_status, c.run_key AS current_key,
        r.run_key, r.run_number, r.status AS run_status, r."trigger", r.triggered_by,
        r.principal AS run_principal, r.reason AS run_reason, r.definition_key,
        r.source_run_number AS run_source, r.error AS run_error,
        CASE WHEN r.payload IS NULL THEN r.payload_run_key ELSE r.run_key END AS payload_key,
        r.created_at,
        r.started_at AS run_started_at, r.completed_at AS run_completed_at, r.traceparent
    FROM unnest({wanted}) WITH ORDINALITY u({which}, n)
    CROSS JOIN LATERAL (
        SELECT * FROM zart.executions WHERE executions.execution_id = u.execution_id OFFSET 0) e
    CROSS JOIN LATERAL (  -- the newest is the current one
        SELECT * FROM zart.runs WHERE runs.execution_key = e.execution_key
        ORDER BY runs.run_number DESC LIMIT 1) c
    LEFT JOIN LATERAL (
        SELECT * FROM zart.runs WHERE runs.execution_key = e.execution_key
            AND runs.run_number = COALESCE(u.run_number, c.run_number)
        OFFSET 0) r ON true
"""
_COLUMNS = """n, digest, execution_key, execution_created_at, current_number, current_status,
    current_key, run_key, run_number, run_status, "trigger", triggered_by, run_principal,
    run_reason, definition_key, run_source, run_error, created_at, run_started_at, run_completed_at,
    traceparent, payload_key, task_name,"""
_WHICH = {
    "execution_id": ":execution_ids::text[]",
    "run_number": ":run_numbers::integer[]",
}


def _viewing(digest: str, which: Mapping[str, str]) -> Statement:
    """Make the statement that views runs, with an expression for their digest."""
    run = _RUN.format(digest=digest, wanted=", ".join(which.values()), which=", ".join(which))
    # The payload, which may be long, stands in the first row of its run only.
    return Statement(f"""
        WITH {STEPS.format(run=run, columns=_COLUMNS)}
        SELECT steps.*, CASE WHEN COALESCE(step_no, 0) = 0 THEN (
            SELECT payload FROM zart.runs WHERE runs.run_key = payload_key OFFSET 0) END AS payload
        FROM steps ORDER BY n, step_no
    """)


# What a statement can do costs it something even where it does not: most views have no digest.
_VIEW = _viewing("NULL::text", _WHICH)
_VIEW_DIGESTED = _viewing(
    f"CASE WHEN u.is_digested THEN {DIGEST} END",
    {**_WHICH, "is_digested": ":are_digested::boolean[]"},
)
_STATUS = {status.value: status for status in RunStatus}  # to look up takes less than to call
_TRIGGER = {trigger.value: trigger for trigger in RunTrigger}
_VIEWS = 16  # are made between two turns of the event loop
_STEP_BYTES = 200  # about, of a step that is read


async def get_execution(
    connection: Connection, execution_id: str, run_number: int | None
) -> ExecutionView:
    """Read an execution, a run (None: the current one) and its steps, as of one moment.

    Results are left out past 4 MiB together, errors cut. Raises ExecutionNotFound or RunNotFound.
    """
    (view,) = await get_executions(connection, [(execution_id, run_number)])
    if isinstance(view, ZartError):
        raise view
    return view


async def get_executions(
    connection: Connection, wanted: Sequence[tuple[str, int | None]], digested: Collection[int] = ()
) -> list[ExecutionView | ZartError]:
    """Read executions as ``get_execution`` does, in one statement. No run may be wanted twice.

    The views of some, ``digested`` by their indices, have the digest that ``run_digests`` gives.
    An error is ExecutionNotFound or RunNotFound.
    """
    found: dict[int, list[asyncpg.Record]] = {}
    ids, numbers = zip(*wanted, strict=True)
    values = {"result_bytes": RESULT_BYTES, "execution_ids": ids, "run_numbers": numbers}
    statement = _VIEW
    if digested:
        statement = _VIEW_DIGESTED
        values["are_digested"] = [index in digested for index in range(len(wanted))]
    for row in await connection.fetch(statement.text, *statement.arguments(**values)):
        found.setdefault(row["n"], []).append(row)
    keys = {rows[0]["definition_key"] for rows in found.values()} - {None}
    definitions = await find_definitions(connection, keys)
    views: list[ExecutionView | ZartError] = []
    for n, (execution_id, number) in enumerate(wanted, 1):
        if n % _VIEWS == 0:
            await asyncio.sleep(0)
        rows = found.get(n)
        if rows is None:
            views.append(ExecutionNotFound(execution_id))
        elif rows[0]["run_key"] is None:
            views.append(RunNotFound(execution_id, number or 0))
        else:
            definition = definitions[rows[0]["definition_key"]]
            views.append(await _view(connection, rows, execution_id, definition))
    return views


async def _view(
    connection: Connection,
    rows: Sequence[asyncpg.Record],
    execution_id: str,
    definition: Definition,
) -> ExecutionView:
    row = rows[0]
    identity = RunIdentity(row["run_key"], execution_id, row["task_name"], definition)
    doubts = (await read_in_doubt(connection, [(identity, None)])).get(identity.run_key)
    steps = await connection.aside(_STEP_BYTES * len(rows), steps_of, rows, identity, doubts)
    if row["run_key"] == row["current_key"]:
        waits = waits_for(rows, steps)
    else:
        # Of another run than the one that is read: said as of a moment later.
        waits = (await execution_waits(connection, [row["current_key"]])).get(
            row["current_key"], ""
        )
    return ExecutionView(
        _execution(row, execution_id, waits),
        _run(row, execution_id, definition, await _result(connection, row, identity, steps)),
        tuple(steps),
        run_key=row["run_key"],
        digest=row["digest"] or "",
    )


def _execution(row: asyncpg.Record, execution_id: str, waits: str) -> Execution:
    return Execution(
        execution_id,
        row["task_name"],
        row["current_number"],
        _STATUS[row["current_status"]],
        row["execution_created_at"],
        waits,
    )


def _run(
    row: asyncpg.Record, execution_id: str, definition: Definition, result_json: str | None
) -> Run:
    return Run(
        execution_id=execution_id,
        run_number=row["run_number"],
        status=_STATUS[row["run_status"]],
        trigger=_TRIGGER[row["trigger"]],
        triggered_by=row["triggered_by"],
        principal=row["run_principal"],
        reason=row["run_reason"],
        definition_version=definition.version,
        source_run_number=row["run_source"],
        error=row["run_error"],
        created_at=row["created_at"],
        started_at=row["run_started_at"],
        completed_at=row["run_completed_at"],
        payload_json=row["payload"],
        result_json=result_json,
        traceparent=row["traceparent"],
    )


async def _result(
    connection: Connection, row: asyncpg.Record, identity: RunIdentity, steps: Sequence[Step]
) -> str | None:
    """Return a completed run's result: of the steps' where all of those are at hand."""
    if row["run_status"] != "completed":
        return None
    sinks = [steps[number] for number in identity.definition.graph.sinks]
    if any(step.result_json is None for step in sinks):
        return await run_result(connection, identity)  # what is completed stays as it is
    return result_of([(step.step_name, step.result_json or "") for step in sinks])


async def get_step(tx: Tx, execution_id: str, step_name: str, run_number: int | None) -> Step:
    """Read one step with its result, whatever its size. ``tx`` is to be a snapshot."""
    row = await tx.fetchrow(
        """
        SELECT e.task_name, COALESCE($2, c.run_number) AS run_number, r.run_key, r.definition_key
        FROM zart.executions e
        JOIN zart.runs c ON c.execution_key = e.execution_key AND c.is_current
        LEFT JOIN zart.runs r ON r.execution_key = e.execution_key
            AND r.run_number = COALESCE($2, c.run_number)
        WHERE e.execution_id = $1
        """,
        execution_id,
        run_number,
    )
    if row is None:
        raise ExecutionNotFound(execution_id)
    if row["run_key"] is None:
        raise RunNotFound(execution_id, run_number or 0)
    key = row["definition_key"]
    definition = (await find_definitions(tx, [key]))[key]
    number = definition.graph.index.get(step_name)
    if number is None:
        raise StepNotFound(f"{execution_id}:run:{row['run_number']}", step_name)
    identity = RunIdentity(row["run_key"], execution_id, row["task_name"], definition)
    return (await read_steps(tx, [(identity, number)], result_bytes=1 << 30))[0]


async def find_executions(
    connection: Connection, execution_ids: Sequence[str]
) -> dict[str, Execution]:
    """Return executions by id, as they are now; unknown ids are missing."""
    rows = await connection.fetch(
        "SELECT e.execution_id, e.task_name, r.run_number, r.status, e.created_at"
        " FROM zart.executions e JOIN zart.runs r USING (execution_key)"
        " WHERE e.execution_id = ANY($1::text[]) AND r.is_current",
        execution_ids,
    )
    return {
        row["execution_id"]: Execution(
            row["execution_id"],
            row["task_name"],
            row["run_number"],
            _STATUS[row["status"]],
            row["created_at"],
        )
        for row in rows
    }
