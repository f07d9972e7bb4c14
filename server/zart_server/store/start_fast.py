"""Starts one execution with its answer in one statement, which is its own transaction."""

from __future__ import annotations

from typing import NamedTuple

from zart_server.domain.rule_set import Judgement
from zart_server.store.begin_runs import beginning, insert_steps_of, roots
from zart_server.store.connection import Autocommit
from zart_server.store.enqueue import Leases, leases_of
from zart_server.store.executions import STORING, NewExecution, Started
from zart_server.store.lessees import Lessees
from zart_server.store.pausing.rules import EXPECT_EPOCH
from zart_server.store.requests import Answered
from zart_server.store.statement import Statement

# What waits for others comes in the order in which everybody waits: the id, the pause lock, the
# request. By then rows were inserted, so a statement that waited in vain is refused altogether.
_START = Statement(
    f"""
    WITH new AS MATERIALIZED (
        SELECT :execution_id::text AS execution_id, :payload::text AS payload,
            :traceparent::text AS traceparent,
            :task_name::text AS task_name, :definition_key::bigint AS definition_key,
            :version::integer AS version, :triggered_by::text AS triggered_by,
            :principal::text AS principal, :reason::text AS reason,
            :operation_request_id::text AS request_id, :incident::text AS incident,
            :is_leased::boolean AS is_leased, 1 AS n,
            nextval('zart.executions_execution_key_seq') AS execution_key,
            nextval('zart.runs_run_key_seq') AS run_key
        WHERE :definition_key = (
                SELECT definition_key FROM zart.task_names WHERE task_name = :task_name)
            AND NOT EXISTS (SELECT FROM zart.requests
                            WHERE caller = :caller AND rpc = :rpc AND request_id = :request_id)
    ), {STORING}, begun AS MATERIALIZED (
        SELECT * FROM started WHERE {EXPECT_EPOCH.format(epoch=":epoch")}
    ), steps AS ({insert_steps_of("begun")}), {beginning("begun")}, answered AS (
        INSERT INTO zart.requests (caller, rpc, request_id, fingerprint, response, is_complete)
        SELECT :caller::text, :rpc::text, :request_id::text, :fingerprint::bytea,
            :response::bytea, false
        FROM begun
        WHERE :request_id IS NOT NULL
    )
    SELECT execution_id, execution_key, begun.run_key, statement_timestamp(), step_no, lease_token,
        lease_expires_at
    FROM begun LEFT JOIN leased ON true
    """,
    locks=("keys of executions", "pause lock, shared", "keys of requests"),
)


class StartedFast(NamedTuple):
    """An execution that was started, and the leases of its first steps."""

    started: Started
    leases: Leases


async def start_fast(
    connection: Autocommit,
    new: NewExecution,
    judgement: Judgement,
    lessees: Lessees,
    answer: Answered | None,
) -> StartedFast | None:
    """Insert an execution, enqueue its roots and store the incomplete answer to its request.

    ``judgement`` and ``lessees`` are as ``roots`` takes them. Return None, having done
    nothing, if the id is taken, the task has another definition by now, or the request was answered
    before. Raises StoreConflict if one of these, or a change of the rules, happens meanwhile.
    """
    kind = new.kind
    rows = await connection.fetch(
        _START.text,
        *_START.arguments(
            execution_id=new.execution_id,
            payload=new.payload_json,
            traceparent=new.traceparent,
            task_name=kind.task_name,
            definition_key=kind.definition_key,
            version=kind.definition_version,
            triggered_by=kind.caller.triggered_by,
            principal=kind.caller.principal,
            reason=kind.caller.reason,
            operation_request_id=kind.caller.request_id,
            incident=kind.caller.incident,
            is_leased=any(lessees.indexes),
            caller=None if answer is None else answer.key.caller,
            rpc=None if answer is None else answer.key.rpc,
            request_id=None if answer is None else answer.key.request_id,
            fingerprint=None if answer is None else answer.fingerprint,
            response=None if answer is None else answer.response,
            **roots(judgement, lessees),
        ),
    )
    if not rows:
        return None
    return StartedFast(Started(*rows[0][:4]), leases_of((row[2], *row[4:]) for row in rows))
