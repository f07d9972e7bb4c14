"""Reads the steps of a run as callers see them: state, attempts, and what each waits for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import asyncpg

from zart_server.domain.model import Step, StepStatus
from zart_server.domain.step_resolution import StepResolution
from zart_server.store.connection import Connection
from zart_server.store.doubt.reading import InDoubt, in_doubt, open_doubts
from zart_server.store.leases import error_from_json
from zart_server.store.reads.attempts import ended_attempts
from zart_server.store.reads.shown_inputs import inputs_end
from zart_server.store.reads.step_rows import RESULT_BYTES, STEPS, StepRow
from zart_server.store.reads.step_tasks import step_status_of, task_of
from zart_server.store.statement import Statement
from zart_server.store.steps import step_statuses
from zart_server.store.stored_graph import Definition

_WANTED = """
    SELECT * FROM unnest(
        :run_keys::bigint[], :execution_ids::text[], :task_names::text[], :step_nos::integer[])
        u(run_key, execution_id, task_name, only_step)
"""
_SOME = Statement(f"WITH {STEPS.format(run=_WANTED, columns='')} SELECT * FROM steps")


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """Where a run's steps stand: its keys and the names that rules and dispatchers go by."""

    run_key: int
    execution_id: str
    task_name: str
    definition: Definition


async def read_in_doubt(
    connection: Connection, wanted: Iterable[tuple[RunIdentity, int | None]]
) -> dict[int, InDoubt]:
    """Read what is in doubt of steps (None: of all of the run), by run key.

    Runs whose steps may all run twice are not asked.
    """
    keys = [(run.run_key, number) for run, number in wanted if run.definition.stops]
    return await open_doubts(connection, keys) if keys else {}


async def read_steps(
    connection: Connection,
    wanted: Sequence[tuple[RunIdentity, int]],
    *,
    result_bytes: int = RESULT_BYTES,
) -> list[Step]:
    """Read steps by run and number, one of each run, with results up to ``result_bytes``."""
    rows = await connection.fetch(
        _SOME.text,
        *_SOME.arguments(
            result_bytes=result_bytes,
            run_keys=[identity.run_key for identity, _ in wanted],
            execution_ids=[identity.execution_id for identity, _ in wanted],
            task_names=[identity.task_name for identity, _ in wanted],
            step_nos=[number for _, number in wanted],
        ),
    )
    found = {row["steps_of"]: row for row in rows}
    keys = [
        (identity.run_key, dep)
        for identity, number in wanted
        if step_status_of(found[identity.run_key]) is StepStatus.PENDING
        for dep in identity.definition.graph.depends_on[number]
    ]
    known: dict[int, dict[int, str]] = {}
    for run_key, step_no, status in await step_statuses(connection, keys) if keys else ():
        known.setdefault(run_key, {})[step_no] = status
    doubts = await read_in_doubt(connection, wanted)
    return [
        in_doubt(_step(found[p.run_key], p, known.get(p.run_key, {})), n, doubts.get(p.run_key))
        for p, n in wanted
    ]


def queued_step(row: StepRow, identity: RunIdentity) -> Step:
    """Make the step of a row of ``JUST_QUEUED``; none of its attempts is in doubt."""
    return _step(row, identity, {})


def steps_of(
    rows: Sequence[asyncpg.Record], identity: RunIdentity, doubts: InDoubt | None
) -> list[Step]:
    """Make the steps of a whole run, of the rows of ``STEPS``, with as many inputs as are told."""
    known = {row["step_no"]: row["status"] for row in rows}
    end = inputs_end(rows, identity.definition, RESULT_BYTES)
    return [
        in_doubt(_step(row, identity, known, has_room=n < end), n, doubts)
        for n, row in ((row["step_no"], row) for row in rows)
    ]


_RESOLUTIONS = {None: StepResolution.EXECUTED} | {each.value: each for each in StepResolution}


def _step(
    row: asyncpg.Record, identity: RunIdentity, statuses: dict[int, str], *, has_room: bool = True
) -> Step:
    graph = identity.definition.graph
    spec = graph.steps[row["step_no"]]
    task = task_of(row, identity.run_key, identity.task_name, graph, statuses)
    is_open = row["status"] == "open"
    is_completed = task.status is StepStatus.COMPLETED
    attempts = ended_attempts(row)
    if task.running is not None:
        attempts.append(task.running)
    last_error = error_from_json(row["error"])
    if last_error is None and not is_completed:
        last_error = next((a.error for a in reversed(attempts) if a.error is not None), None)
    result, correction = row["shown_result"], row["correction"]
    input_json = None
    if has_room:
        input_json = spec.input_json if correction is None else row["shown_input"]
    has_input = correction is not None or spec.input_json is not None
    return Step(
        step_name=spec.step_name,
        status=task.status,
        depends_on=spec.depends_on,
        handler=spec.handler,
        attempt=task.attempt if is_open else row["attempt"],
        max_attempts=task.max_attempts or row["max_attempts"] or spec.retry_policy.max_attempts,
        input_json=input_json,
        result_json=result,
        result_omitted=result is None and row["has_result"],
        last_error=last_error,
        retryable=row["retryable"],
        task_id=task.task_id,
        not_before=task.not_before,
        lease_owner=task.lease_owner,
        lease_expires_at=task.lease_expires_at,
        paused_by=task.paused_by,
        waiting_on=task.waiting_on,
        preserved_from_run_number=row["source_run_number"],
        scheduled_at=row["scheduled_at"],
        started_at=task.leased_at or row["started_at"],
        completed_at=row["completed_at"],
        attempts=tuple(attempts),
        input_corrections=correction or 0,
        input_omitted=has_input and input_json is None,
        errors_omitted=bool(row["errors_omitted"]),
        resolution=_RESOLUTIONS[row["resolution"]] if is_completed else None,
    )
