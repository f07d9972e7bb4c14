"""Starts one execution with its answer in one statement, which is its own transaction."""

from __future__ import annotations

from typing import NamedTuple

from zart_server.domain.rule_set import Judgement
from zart_server.store.begin_runs import beginning, insert_steps_of, roots
from zart_server.store.db import Tx
from zart_server.store.enqueue import Leases
from zart_server.store.executions import STORING, NewExecution, Started
from zart_server.store.lessees import Lessees
from zart_server.store.pausing.rules import EXPECT_EPOCH
from zart_server.store.requests import Answered

# What waits for others comes in the order in which everybody waits: the id, the pause lock, the
# request. By then rows were inserted, so a statement that waited in vain is refused altogether.
_START = f"""
    WITH new AS MATERIALIZED (
        SELECT $1::text AS execution_id, $2::text AS payload, $3::text AS task_name,
            $4::bigint AS definition_key, $5::integer AS version, $6::text AS triggered_by,
            $7::text AS principal, $8::text AS reason, $9::text AS request_id,
            $10::boolean AS is_leased, 1 AS n,
            nextval('zart.executions_execution_key_seq') AS execution_key,
            nextval('zart.runs_run_key_seq') AS run_key
        WHERE $4 = (SELECT definition_key FROM zart.task_names WHERE task_name = $3)
            AND NOT EXISTS (SELECT FROM zart.requests
                            WHERE caller = $11 AND rpc = $12 AND request_id = $13)
    ), {STORING}, begun AS MATERIALIZED (
        SELECT * FROM started WHERE {EXPECT_EPOCH.format(epoch="$16")}
    ), steps AS ({insert_steps_of("begun")}), {beginning("begun", 17)}, answered AS (
        INSERT INTO zart.requests (caller, rpc, request_id, fingerprint, response, is_complete)
        SELECT $11::text, $12::text, $13::text, $14::bytea, $15::bytea, false FROM begun
        WHERE $13 IS NOT NULL
    )
    SELECT execution_id, execution_key, begun.run_key, statement_timestamp(), step_no, lease_token,
        lease_expires_at
    FROM begun LEFT JOIN leased ON true
"""


class StartedFast(NamedTuple):
    """An execution that was started, and the leases of its first steps."""

    started: Started
    leases: Leases


async def start_fast(
    tx: Tx,
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
    key = (None, None, None) if answer is None else answer.key
    rows = await tx.fetch(
        _START,
        new.execution_id,
        new.payload_json,
        kind.task_name,
        kind.definition_key,
        kind.definition_version,
        kind.caller.triggered_by,
        kind.caller.principal,
        kind.caller.reason,
        kind.caller.request_id,
        any(lessees.indexes),
        *key,
        None if answer is None else answer.fingerprint,
        None if answer is None else answer.response,
        judgement.epoch,
        *roots(judgement, lessees),
    )
    if not rows:
        return None
    leases = {(row[2], row[4]): (row[5], row[6]) for row in rows if row[4] is not None}
    return StartedFast(Started(*rows[0][:4]), leases)
