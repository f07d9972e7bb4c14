"""Executions: the rows that name durable jobs. They are inserted and locked, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.commands import Caller
from zart_server.store.arrays import column, numbers
from zart_server.store.connection import Tx
from zart_server.store.statement import Statement


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
    traceparent: str | None = None


class Started(NamedTuple):
    """The keys that a new execution got."""

    execution_id: str
    execution_key: int
    run_key: int
    created_at: datetime


# The parts of a WITH that store the executions of `new` with their run 0, which runs already where
# `is_leased`, and their operation; `started` are those whose id was not taken.
STORING = """
        e AS (
            INSERT INTO zart.executions (execution_key, execution_id, task_name)
                OVERRIDING SYSTEM VALUE
            SELECT execution_key, execution_id, task_name FROM new ORDER BY n
            ON CONFLICT (execution_id) DO NOTHING
            RETURNING execution_key
        ), started AS MATERIALIZED (
            -- IS TRUE keeps this from becoming a join: it is looked up in a hash table.
            SELECT * FROM new WHERE (execution_key IN (SELECT execution_key FROM e)) IS TRUE
        ), r AS (
            INSERT INTO zart.runs (run_key, execution_key, listed_task, run_number, definition_key,
                                   "trigger", triggered_by, principal, reason, payload, status,
                                   started_at, traceparent)
                OVERRIDING SYSTEM VALUE
            SELECT run_key, execution_key, task_name, 0, definition_key, 'initial', triggered_by,
                   principal, reason, payload::json,
                   CASE WHEN is_leased THEN 'running' ELSE 'scheduled' END,
                   CASE WHEN is_leased THEN statement_timestamp() END, traceparent
            FROM started
        ), o AS (
            INSERT INTO zart.operations (kind, execution_id, run_number, task_name, triggered_by,
                                         principal, reason, request_id, incident, made)
            SELECT 'start', execution_id, 0, task_name, triggered_by, principal, reason, request_id,
                   incident, json_build_object('run_id', execution_id || ':run:0',
                                               'definition_version', version)
            FROM started
        )
"""


# The columns of executions by their ``kind``, of the parameters of ``kinds_of``.
OF_KINDS = """(:task_names::text[])[kind] AS task_name,
            (:definition_keys::bigint[])[kind] AS definition_key,
            (:versions::integer[])[kind] AS version,
            (:triggered_by::text[])[kind] AS triggered_by,
            (:principals::text[])[kind] AS principal,
            (:reasons::text[])[kind] AS reason, (:request_ids::text[])[kind] AS request_id,
            (:incidents::text[])[kind] AS incident"""
_INSERT = Statement(
    f"""
    WITH new AS MATERIALIZED (
        SELECT execution_id, payload, traceparent, n, {OF_KINDS},
            false AS is_leased,
            nextval('zart.executions_execution_key_seq') AS execution_key,
            nextval('zart.runs_run_key_seq') AS run_key
        FROM unnest(:execution_ids::text[], :kinds::text::integer[], :payloads::text[],
                :traceparents::text[])
            WITH ORDINALITY u(execution_id, kind, payload, traceparent, n)
    ), {STORING}
    SELECT execution_id, execution_key, run_key, statement_timestamp() FROM started
    """,
    locks=("keys of executions, waiting",),
)


async def insert_executions(tx: Tx, new: Sequence[NewExecution]) -> dict[str, Started]:
    """Insert executions with their run 0 and their operation; taken ids are left out.

    Inserts in the order of the ids, so that two batches cannot wait for each other; waits for
    whoever is inserting the same id.
    """
    found = await tx.fetch(_INSERT.text, *_INSERT.arguments(**kinds_of(sorted(new))))
    return {row[0]: Started(*row) for row in found}


def kinds_of(new: Sequence[NewExecution]) -> dict[str, object]:
    """Return executions as parameters: what many of them have in common stands once."""
    kinds: dict[Kind, int] = {}
    indexes = [kinds.setdefault(each.kind, len(kinds) + 1) for each in new]
    return {
        "execution_ids": [each.execution_id for each in new],
        "kinds": numbers(indexes),
        "payloads": column(each.payload_json for each in new),
        "traceparents": column(each.traceparent for each in new),
        "task_names": [kind.task_name for kind in kinds],
        "definition_keys": [kind.definition_key for kind in kinds],
        "versions": [kind.definition_version for kind in kinds],
        "triggered_by": [kind.caller.triggered_by for kind in kinds],
        "principals": [kind.caller.principal for kind in kinds],
        "reasons": [kind.caller.reason for kind in kinds],
        "request_ids": [kind.caller.request_id for kind in kinds],
        "incidents": [kind.caller.incident for kind in kinds],
    }
