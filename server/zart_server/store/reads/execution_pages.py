"""Lists executions, a page at a time, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from zart_server.domain.commands import Page
from zart_server.domain.filters import ExecutionFilter, ListExecutions
from zart_server.domain.model import Execution, RunStatus
from zart_server.store.connection import Connection, Tx
from zart_server.store.reads.dead_steps import read_dead_steps
from zart_server.store.reads.filtered import find_filtered
from zart_server.store.reads.listed_by_steps import FoundRuns, find_by_steps
from zart_server.store.reads.listed_runs import find_runs, range_of
from zart_server.store.reads.waiting import execution_waits

Cursor: TypeAlias = tuple[int | str, ...] | None


async def list_executions(
    tx: Tx, wanted: ListExecutions | ExecutionFilter, cursor: Cursor, limit: int
) -> Page[Execution]:
    """List executions, newest first, with what they wait for and which steps are dead.

    By states of steps, and by a filter, a page may have fewer than ``limit`` although others
    follow. ``tx`` is to be a snapshot. Raises as ``find_filtered``.
    """
    after_key = None if cursor is None else int(cursor[0])
    if isinstance(wanted, ExecutionFilter):
        found = await find_filtered(tx, wanted, after_key, limit + 1)
    else:
        found = await _find(tx, wanted, after_key, limit + 1)
    shown, until = found.runs[:limit], found.next_key(limit)
    items = await _executions(tx, [run.run_key for run in shown])
    cursors = tuple((run.position.execution_key,) for run in shown)
    return Page(tuple(items), cursors, None if until is None else (until,))


async def _find(tx: Tx, wanted: ListExecutions, after_key: int | None, limit: int) -> FoundRuns:
    created = wanted.created_after, wanted.created_before
    part = await range_of(tx, wanted.task_name, wanted.statuses, created, after_key)
    if part is None:
        return FoundRuns([])
    if wanted.step_statuses:
        return await find_by_steps(tx, part, set(wanted.step_statuses), limit)
    return FoundRuns(await find_runs(tx, part, limit))


async def _executions(connection: Connection, run_keys: Sequence[int]) -> list[Execution]:
    """Return the executions of current runs, in the same order."""
    if not run_keys:
        return []
    rows = await connection.fetch(
        """
        SELECT r.run_key, e.execution_id, e.task_name, r.run_number, r.status, e.created_at
        FROM unnest($1::bigint[]) WITH ORDINALITY u(run_key, n) CROSS JOIN LATERAL (
            SELECT * FROM zart.runs WHERE runs.run_key = u.run_key OFFSET 0) r
        CROSS JOIN LATERAL (
            SELECT * FROM zart.executions WHERE executions.execution_key = r.execution_key
            OFFSET 0) e
        ORDER BY u.n
        """,
        run_keys,
    )
    waits = await execution_waits(connection, run_keys)
    dead = await read_dead_steps(connection, run_keys)
    return [
        Execution(
            id_,
            task_name,
            number,
            RunStatus(status),
            created_at,
            waits.get(run_key, ""),
            dead.get(run_key, ()),
        )
        for run_key, id_, task_name, number, status, created_at in rows
    ]
