"""Current runs: locked with their executions, and followed by the next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.model import RunTrigger
from zart_server.domain.operations import OperationKind
from zart_server.domain.rule_set import Judgement
from zart_server.store.begin_runs import beginning, insert_steps_of, roots
from zart_server.store.connection import Tx
from zart_server.store.lessees import Lessees
from zart_server.store.lookups import IF_LOCKED, if_locked, only
from zart_server.store.operations import RECORD, NewOperation, record_of, recorded, to_text
from zart_server.store.pausing.rules import SHARED_EPOCH
from zart_server.store.runs import RUN_COLUMNS, RunRow
from zart_server.store.statement import Statement

# A longer payload that stays the same is not copied to the next run, which refers to it.
_COPIED = 2000


class LockedExecution(NamedTuple):
    """An execution whose row, and whose current run's row, this transaction has locked."""

    execution_key: int
    execution_id: str
    task_name: str
    created_at: datetime
    task_definition_key: int | None  # the task's current definition
    run: RunRow


# The newest run is the current one unless it was superseded before its lock was got.
_LOCK = {
    way: Statement(
        f"""
        SELECT e.*, n.definition_key AS task_definition_key, r.* FROM (
            SELECT execution_key, execution_id, task_name, created_at AS execution_created_at
            FROM zart.executions WHERE execution_key = ANY(ARRAY(
                SELECT execution_key FROM zart.executions
                WHERE execution_id = ANY(:execution_ids::text[])))
            ORDER BY execution_key FOR NO KEY UPDATE {skip}) e
        CROSS JOIN LATERAL (
            SELECT {RUN_COLUMNS}, is_current FROM zart.runs
            WHERE runs.execution_key = e.execution_key
            ORDER BY run_number DESC LIMIT 1 FOR NO KEY UPDATE {skip}) r
        LEFT JOIN zart.task_names n ON n.task_name = e.task_name
        """,
        locks=(f"executions, {way}", f"runs, {way}"),
    )
    for way, skip in IF_LOCKED.items()
}


async def lock_current_runs(
    tx: Tx, execution_ids: Sequence[str], *, wait: bool
) -> dict[str, LockedExecution]:
    """Lock executions and their current runs; return those that were locked, by execution id.

    Left out are unknown ids, and executions of which another transaction has locked a row or, with
    ``wait``, whose current run was another when the statement began: ask for these once more.
    """
    statement = _LOCK[if_locked(wait=wait)]
    rows = await tx.fetch(statement.text, *statement.arguments(execution_ids=execution_ids))
    found = {}
    for row in rows:
        key, id_, task_name, created_at, definition_key, *run, is_current = row
        if is_current:
            found[id_] = LockedExecution(
                key, id_, task_name, created_at, definition_key, RunRow.from_values(run)
            )
    # Who locks them is to change them.
    tx.changes.changed((item.run.run_key for item in found.values()), at_once=True)
    return found


async def find_gone(tx: Tx, execution_keys: Sequence[int]) -> set[int]:
    """Return those of the executions that there are no more: for good, as keys are used once."""
    if not execution_keys:
        return set()
    rows = await tx.fetch(
        "SELECT e.execution_key FROM unnest($1::bigint[]) k(execution_key) CROSS JOIN LATERAL ("
        "SELECT execution_key FROM zart.executions WHERE execution_key = k.execution_key OFFSET 0"
        ") e",
        execution_keys,
    )
    return set(execution_keys).difference(row[0] for row in rows)


class NextRun(NamedTuple):
    """A run that is to follow a current one, whose key it has. No ``payload_json``: the same."""

    run_key: int
    definition_key: int
    payload_json: str | None
    operation: NewOperation


def _next_runs(now: str = "", only_if: str = "", begin: str = "") -> str:
    return f"""
        WITH {now}
        u AS MATERIALIZED (
            SELECT u.*, (:payloads::text[])[n] AS payload
            FROM json_to_recordset(:runs::text::json)
                u(n integer, run_key bigint, definition_key bigint, {RECORD}) {only_if}
        ), past AS (
            UPDATE zart.runs r SET is_current = false,
                status = CASE WHEN r.completed_at IS NULL THEN 'cancelled' ELSE r.status END,
                error = CASE WHEN r.completed_at IS NULL
                    THEN 'superseded by run ' || r.run_number + 1 ELSE r.error END,
                completed_at = COALESCE(r.completed_at, statement_timestamp())
            FROM u WHERE r.run_key = {only("u.run_key")} AND r.is_current
            RETURNING nextval('zart.runs_run_key_seq') AS next_key, u.n, r.execution_key,
                r.listed_task, r.listed_at, r.run_number, u.definition_key,
                u.triggered_by, u.principal, u.reason,
                COALESCE(u.payload::json,
                    CASE WHEN pg_column_size(r.payload) <= {_COPIED} THEN r.payload END) AS payload,
                CASE WHEN u.payload IS NULL AND (
                        r.payload IS NULL OR pg_column_size(r.payload) > {_COPIED})
                    THEN CASE WHEN r.payload IS NULL THEN r.payload_run_key ELSE r.run_key END
                    END AS payload_run_key, r.traceparent
        ), new AS (
            INSERT INTO zart.runs (run_key, execution_key, listed_task, listed_at,
                                   run_number, definition_key, "trigger", triggered_by, principal,
                                   reason, source_run_number, payload, payload_run_key,
                                   traceparent)
                OVERRIDING SYSTEM VALUE
            SELECT next_key, execution_key, listed_task, listed_at, run_number + 1,
                definition_key, :trigger::text, triggered_by, principal, reason,
                CASE WHEN :trigger::text = 'selective_rerun' THEN run_number END, payload,
                payload_run_key, traceparent
            FROM past
            RETURNING {RUN_COLUMNS}
        ), operations AS ({recorded("u", ":kind")}) {begin}
        SELECT {RUN_COLUMNS} FROM new
    """


_PAST = "runs, current ones that the caller has locked"
_INSERT = Statement(_next_runs(), locks=(_PAST,))
_INSERT_AND_BEGIN = Statement(
    _next_runs(
        f"now AS MATERIALIZED (SELECT {SHARED_EPOCH} AS epoch),",
        "WHERE :epoch = (SELECT epoch FROM now)",
        f""", begun AS MATERIALIZED (
            SELECT next_key AS run_key, definition_key, n FROM past
        ), steps AS ({insert_steps_of("begun")}), {beginning("begun")}
        """,
    ),
    locks=("pause lock, shared", _PAST),
)


async def insert_next_runs(
    tx: Tx,
    following: Sequence[NextRun],
    trigger: RunTrigger,
    kind: OperationKind,
    begin: Judgement | None = None,
) -> dict[int, RunRow]:
    """Retire current runs that the caller has locked; insert and return the next, by execution key.

    Unfinished ones are cancelled; their steps were fenced before. Records the operations too.
    With ``begin`` the runs begin as well: their steps are inserted and their roots enqueued as they
    were judged, under the pause lock, shared. Return an empty dict, having done nothing, if the
    rules have changed since.
    """
    records = [
        {"n": n, "run_key": run.run_key, "definition_key": run.definition_key}
        | record_of(run.operation)
        for n, run in enumerate(following, 1)
    ]
    values: dict[str, object] = {
        "runs": to_text(records),
        "payloads": [run.payload_json for run in following],
        "trigger": trigger.value,
        "kind": kind.value,
    }
    statement = _INSERT
    if begin is not None:
        statement = _INSERT_AND_BEGIN
        values |= roots(begin, Lessees())
    rows = await tx.fetch(statement.text, *statement.arguments(**values))
    return {row["execution_key"]: RunRow.from_values(row) for row in rows}
