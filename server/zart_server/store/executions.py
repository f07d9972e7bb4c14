"""Executions: the rows that name durable jobs. They are inserted and locked, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from zart_server.domain.commands import Caller
from zart_server.store.db import Tx


@dataclass(frozen=True, slots=True)
class NewExecution:
    """What is stored of an execution and its run 0."""

    execution_id: str
    task_name: str
    definition_key: int
    definition_version: int
    payload_json: str | None
    caller: Caller


@dataclass(frozen=True, slots=True)
class Started:
    """The keys that a new execution got."""

    execution_id: str
    execution_key: int
    run_key: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LockedExecution:
    """An execution whose row this transaction holds."""

    execution_key: int
    execution_id: str
    task_name: str
    created_at: datetime


async def insert_executions(tx: Tx, new: Sequence[NewExecution]) -> dict[str, Started]:
    """Insert executions with their run 0 and their operation; taken ids are left out.

    Inserts in the order of the ids, so that two batches cannot wait for each other; waits for
    whoever is inserting the same id.
    """
    rows = sorted(new, key=lambda item: item.execution_id)
    found = await tx.fetch(
        """
        WITH new AS MATERIALIZED (
            SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::integer[], $5::text[],
                                 $6::text[], $7::text[], $8::text[], $9::text[])
            WITH ORDINALITY u(execution_id, task_name, definition_key, version, payload,
                              triggered_by, principal, reason, request_id, n)
        ), e AS (
            INSERT INTO zart.executions (execution_id, task_name)
            SELECT execution_id, task_name FROM new ORDER BY n
            ON CONFLICT (execution_id) DO NOTHING
            RETURNING execution_key, execution_id, created_at
        ), r AS (
            INSERT INTO zart.runs (execution_key, run_number, definition_key, "trigger",
                                   triggered_by, principal, reason, payload)
            SELECT e.execution_key, 0, new.definition_key, 'initial', new.triggered_by,
                   new.principal, new.reason, new.payload::json
            FROM e JOIN new USING (execution_id) ORDER BY new.n
            RETURNING run_key, execution_key
        ), o AS (
            INSERT INTO zart.operations (kind, execution_id, run_number, task_name, triggered_by,
                                         principal, reason, request_id, made)
            SELECT 'start', execution_id, 0, new.task_name, new.triggered_by, new.principal,
                   new.reason, new.request_id,
                   json_build_object('run_id', execution_id || ':run:0',
                                     'definition_version', new.version)
            FROM e JOIN new USING (execution_id) ORDER BY new.n
        )
        SELECT e.execution_id, e.execution_key, r.run_key, e.created_at
        FROM e JOIN r USING (execution_key)
        """,
        [row.execution_id for row in rows],
        [row.task_name for row in rows],
        [row.definition_key for row in rows],
        [row.definition_version for row in rows],
        [row.payload_json for row in rows],
        [row.caller.triggered_by for row in rows],
        [row.caller.principal for row in rows],
        [row.caller.reason for row in rows],
        [row.caller.request_id for row in rows],
    )
    return {row["execution_id"]: Started(*row) for row in found}


async def lock_execution(tx: Tx, execution_id: str) -> LockedExecution | None:
    """Lock an execution; every admin operation does so before anything else of it."""
    row = await tx.fetchrow(
        "SELECT execution_key, execution_id, task_name, created_at FROM zart.executions"
        " WHERE execution_id = $1 FOR NO KEY UPDATE",
        execution_id,
    )
    return None if row is None else LockedExecution(*row)
