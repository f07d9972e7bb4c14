"""Reads what there is of the names in a scope: in definitions, and in unfinished executions."""

from __future__ import annotations

from typing import NamedTuple

from zart_server.domain.model import PauseScope, RunStatus
from zart_server.store.connection import Connection
from zart_server.store.reads.listed_runs import find_runs, range_of
from zart_server.store.statement import Statement

UNFINISHED = (RunStatus.SCHEDULED, RunStatus.RUNNING)
_LOOKED_AT = 10_000  # unfinished executions
_NAMES = 5_000
_NEIGHBOURS = 100

_CURRENT = """(
    SELECT n.task_name, d.step_names FROM zart.task_names n CROSS JOIN LATERAL (
        SELECT step_names FROM zart.definitions
        WHERE definition_key = n.definition_key OFFSET 0) d)"""
_OF_RUNS = """(
    SELECT d.task_name, d.step_names FROM (
        SELECT DISTINCT definition_key FROM zart.runs
        WHERE run_key = ANY(:run_keys::bigint[])) r
    CROSS JOIN LATERAL (
        SELECT task_name, step_names FROM zart.definitions
        WHERE definition_key = r.definition_key OFFSET 0) d)"""
_HAS = """(:task_name::text IS NULL OR t.task_name = :task_name)
    AND (:regex::text IS NULL OR EXISTS (
        SELECT FROM unnest(t.step_names) s(name) WHERE s.name ~ :regex))"""
_DEFINED = Statement(f"SELECT EXISTS (SELECT FROM {_CURRENT} t WHERE {_HAS})")
_RUNS_HAVE = Statement(f"SELECT EXISTS (SELECT FROM {_OF_RUNS} t WHERE {_HAS})")
_LANES_MAY_HAVE = Statement(
    """
    SELECT EXISTS (SELECT FROM zart.lanes l
        WHERE (:task_name::text IS NULL OR l.task_name = :task_name)
          AND (:regex::text IS NULL OR l.step_name IS NULL OR l.step_name ~ :regex))
    """
)


async def is_named(connection: Connection, task_name: str | None, regex: str | None) -> bool:
    """Return whether a current definition, or that of an unfinished execution, has such a step.

    Of very many unfinished executions the newest are looked at; if that decides nothing, it is
    taken to be so.
    """
    values = {"task_name": task_name, "regex": regex}
    if await connection.fetchval(_DEFINED.text, *_DEFINED.arguments(**values)):
        return True
    run_keys = await _unfinished_runs(connection, task_name)
    of_runs = _RUNS_HAVE.arguments(**values, run_keys=run_keys)
    if await connection.fetchval(_RUNS_HAVE.text, *of_runs):
        return True
    if len(run_keys) < _LOOKED_AT:
        return False
    lanes = _LANES_MAY_HAVE.arguments(**values)
    return bool(await connection.fetchval(_LANES_MAY_HAVE.text, *lanes))


async def _unfinished_runs(connection: Connection, task_name: str | None) -> list[int]:
    wanted = await range_of(connection, task_name or "", UNFINISHED, (None, None), None)
    found = await find_runs(connection, wanted, _LOOKED_AT) if wanted else []
    return [run.run_key for run in found]


_TASK_NAMES = Statement(
    f"""
    SELECT task_name FROM {_CURRENT} t UNION SELECT task_name FROM {_OF_RUNS} t
    ORDER BY task_name LIMIT {_NAMES}
    """
)
_STEP_NAMES = Statement(
    f"""
    SELECT s.name FROM (SELECT * FROM {_CURRENT} c UNION ALL SELECT * FROM {_OF_RUNS} r) t
    CROSS JOIN LATERAL unnest(t.step_names) s(name)
    WHERE :task_name::text IS NULL OR t.task_name = :task_name
    GROUP BY s.name ORDER BY s.name LIMIT {_NAMES}
    """
)


async def read_task_names(connection: Connection) -> list[str]:
    """Return the names of tasks, the first of very many."""
    arguments = _TASK_NAMES.arguments(run_keys=await _unfinished_runs(connection, None))
    return [row[0] for row in await connection.fetch(_TASK_NAMES.text, *arguments)]


async def read_step_names(connection: Connection, task_name: str | None) -> list[str]:
    """Return the names of steps, of one task or of all, the first of very many."""
    run_keys = await _unfinished_runs(connection, task_name)
    arguments = _STEP_NAMES.arguments(task_name=task_name, run_keys=run_keys)
    return [row[0] for row in await connection.fetch(_STEP_NAMES.text, *arguments)]


class NamedExecution(NamedTuple):
    """An execution, with its last run and the names of the run's steps."""

    task_name: str
    run_key: int
    status: RunStatus
    step_names: tuple[str, ...]


_EXECUTION = """
    SELECT e.task_name, r.run_key, r.status, d.step_names FROM (
        SELECT execution_key, task_name FROM zart.executions WHERE execution_id = {id} OFFSET 0) e
    CROSS JOIN LATERAL (
        SELECT run_key, status, definition_key FROM zart.runs
        WHERE execution_key = e.execution_key ORDER BY run_number DESC LIMIT 1) r
    CROSS JOIN LATERAL (
        SELECT step_names FROM zart.definitions WHERE definition_key = r.definition_key OFFSET 0) d
"""


async def find_execution(connection: Connection, execution_id: str) -> NamedExecution | None:
    """Return an execution as a scope may name it."""
    row = await connection.fetchrow(_EXECUTION.format(id="$1"), execution_id)
    if row is None:
        return None
    return NamedExecution(row[0], row[1], RunStatus(row[2]), tuple(row[3]))


async def read_neighbours(connection: Connection, execution_id: str) -> list[str]:
    """Return the ids of unfinished executions that stand near to one in their order."""
    rows = await connection.fetch(
        f"""
        SELECT e.execution_id FROM (
            (SELECT execution_key, execution_id FROM zart.executions WHERE execution_id < $1
             ORDER BY execution_id DESC LIMIT {_NEIGHBOURS})
            UNION ALL
            (SELECT execution_key, execution_id FROM zart.executions WHERE execution_id > $1
             ORDER BY execution_id LIMIT {_NEIGHBOURS})) e
        CROSS JOIN LATERAL (
            SELECT status FROM zart.runs WHERE execution_key = e.execution_key
            ORDER BY run_number DESC LIMIT 1) r
        WHERE r.status IN ('scheduled', 'running')
        """,
        execution_id,
    )
    return [row[0] for row in rows]


_PAIRS = Statement(
    f"""
    SELECT encode(sha256(convert_to(COALESCE(json_agg(
        json_build_array(t.task_name, s.name) ORDER BY t.task_name, s.name)::text, ''), 'UTF8')),
        'hex')
    FROM (
        SELECT * FROM {_CURRENT} c WHERE :execution_id::text IS NULL
        UNION ALL
        SELECT task_name, step_names FROM ({_EXECUTION.format(id=":execution_id")}) e) t
    CROSS JOIN LATERAL unnest(t.step_names) s(name)
    WHERE (:task_name::text IS NULL OR t.task_name = :task_name)
      AND (:regex::text IS NULL OR s.name ~ :regex)
    """
)


async def hash_of_pairs(connection: Connection, scope: PauseScope, regex: str | None) -> str:
    """Return the hash of the (task, step) pairs that a scope matches.

    Of the current definitions, or of the execution that it names.
    """
    arguments = _PAIRS.arguments(
        execution_id=scope.execution_id, task_name=scope.task_name, regex=regex
    )
    found: str = await connection.fetchval(_PAIRS.text, *arguments)
    return found
