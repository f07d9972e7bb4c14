"""Executions: the rows that name durable jobs. They are inserted and locked, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.commands import Caller
from zart_server.store.db import Tx


class Kind(NamedTuple):
    """What executions that are started together mostly have in common."""

    task_name: str
    definition_key: int
    definition_version: int
    caller: Caller


class NewExecution(NamedTuple):
    """What is stored of an execution and its run 0."""

    execution_id: str
    kind: Kind
    payload_json: str | None


class Started(NamedTuple):
    """The keys that a new execution got."""

    execution_id: str
    execution_key: int
    run_key: int
    created_at: datetime


async def insert_executions(tx: Tx, new: Sequence[NewExecution]) -> dict[str, Started]:
    """Insert executions with their run 0 and their operation; taken ids are left out.

    Inserts in the order of the ids, so that two batches cannot wait for each other; waits for
    whoever is inserting the same id.
    """
    rows = sorted(new)
    kinds: dict[Kind, int] = {}
    numbers = [kinds.setdefault(row.kind, len(kinds) + 1) for row in rows]
    found = await tx.fetch(
        """
        WITH new AS MATERIALIZED (
            SELECT u.*, k.* FROM unnest($1::text[], $2::integer[], $3::text[])
                WITH ORDINALITY u(execution_id, kind, payload, n)
            JOIN unnest($4::text[], $5::bigint[], $6::integer[], $7::text[], $8::text[],
                        $9::text[], $10::text[])
                WITH ORDINALITY k(task_name, definition_key, version, triggered_by, principal,
                                  reason, request_id, number) ON k.number = u.kind
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
        numbers,
        [row.payload_json for row in rows],
        [kind.task_name for kind in kinds],
        [kind.definition_key for kind in kinds],
        [kind.definition_version for kind in kinds],
        [kind.caller.triggered_by for kind in kinds],
        [kind.caller.principal for kind in kinds],
        [kind.caller.reason for kind in kinds],
        [kind.caller.request_id for kind in kinds],
    )
    return {row[0]: Started(*row) for row in found}
