"""Removes finished executions whole: whatever refers to them, or to their runs, in one statement.

Append-only tables allow it to a transaction that begins with ``ALLOW_PURGE``.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from zart_server.domain.errors import OperationTimeout
from zart_server.domain.retention import RPC_OF, Removed
from zart_server.store.connection import Connection, Tx
from zart_server.store.driver_errors import translate
from zart_server.store.retention.finding import FINISHED
from zart_server.store.statement import Statement

ALLOW_PURGE = "SET LOCAL zart.purge = 'on';"
# What has a run_key and goes with the run. zart.dead_steps goes by a trigger; zart.queue, leases
# and held have no rows of a finished run; zart.batch_items go with their batches.
OF_RUNS = ("steps", "attempts", "step_inputs", "in_doubt", "released_steps")


async def allow_purge(tx: Tx) -> None:
    """Have append-only tables allow a purge, in a transaction that began without that."""
    await tx.execute("SELECT set_config('zart.purge', 'on', true)")


@contextlib.asynccontextmanager
async def undone_if_late(tx: Tx, seconds: float) -> AsyncIterator[None]:
    """Have each statement take so long at most; where one would take longer, undo all within.

    Raises OperationTimeout then; what the transaction did before stays, and it may go on.
    """
    before = await tx.fetchval("SELECT current_setting('statement_timeout')")
    most = f"{seconds * 1000:.0f}"
    await tx.execute("SAVEPOINT piece")
    await tx.execute("SELECT set_config('statement_timeout', $1, true)", most)
    try:
        yield
    except Exception as error:
        if not isinstance(translate(error), OperationTimeout):
            raise
        await tx.execute("ROLLBACK TO SAVEPOINT piece")
        raise OperationTimeout from error
    await tx.execute("RELEASE SAVEPOINT piece")
    await tx.execute("SELECT set_config('statement_timeout', $1, true)", before)


# Of the execution e: an unfinished batch names it, or a half-open breaker has let a step of it try,
# which counts for the breaker until enough have, however long that takes.
_AT_WORK = """
    at_work AS MATERIALIZED (
        SELECT b.* FROM unnest(ARRAY['preparing', 'running', 'paused']) s(status)
        CROSS JOIN LATERAL (
            SELECT batch_key, is_prepared, execution_ids FROM zart.batches
            WHERE status = s.status OFFSET 0) b
    ), named AS MATERIALIZED (
        SELECT unnest(execution_ids) AS execution_id FROM at_work WHERE NOT is_prepared
    ), trying AS MATERIALIZED (
        SELECT rule_key, half_open_at FROM zart.breakers WHERE status = 'half_open'
    )
"""
_MAY_GO = """
    NOT EXISTS (
        SELECT FROM zart.in_doubt d
        WHERE d.execution_id = e.execution_id AND d.resolved_at IS NULL OFFSET 0)
    AND NOT EXISTS (
        SELECT FROM at_work b CROSS JOIN LATERAL (
            SELECT FROM zart.batch_items i
            WHERE i.batch_key = b.batch_key AND i.execution_key = e.execution_key LIMIT 1) i)
    AND (e.execution_id IN (SELECT execution_id FROM named)) IS NOT TRUE
    AND NOT EXISTS (
        SELECT FROM trying b CROSS JOIN LATERAL (
            SELECT run_key FROM zart.runs WHERE runs.execution_key = e.execution_key OFFSET 0) r
        CROSS JOIN LATERAL (
            SELECT FROM zart.released_steps x
            WHERE x.rule_key = b.rule_key AND x.run_key = r.run_key
              AND x.released_at > b.half_open_at LIMIT 1) x)
"""
# Where others have locked the current run, the one before it is found, which is not current.
_LOCK = Statement(
    f"""
    WITH {_AT_WORK}
    SELECT e.execution_key FROM (
        SELECT execution_key FROM zart.executions e
        WHERE execution_key = ANY(:execution_keys::bigint[]) AND {_MAY_GO}
        ORDER BY execution_key FOR UPDATE SKIP LOCKED) e
    CROSS JOIN LATERAL (
        SELECT is_current FROM zart.runs WHERE runs.execution_key = e.execution_key
        ORDER BY run_number DESC LIMIT 1 FOR UPDATE SKIP LOCKED) r
    WHERE r.is_current
    """,
    locks=("executions, if nobody has", "runs, if nobody has"),
)


async def lock_ended(tx: Tx, execution_keys: Sequence[int]) -> list[int]:
    """Lock executions that may go, and their current runs; return those that are locked by that.

    Others stay as they are: what may not go is not written to each time that it is looked at.
    """
    rows = await tx.fetch(_LOCK.text, *_LOCK.arguments(execution_keys=execution_keys))
    return [row[0] for row in rows]


_COUNT = Statement(
    f"""
    WITH {_AT_WORK}, looked AS MATERIALIZED (
        SELECT s.status, r.* FROM unnest(:statuses::text[]) s(status) CROSS JOIN LATERAL (
            SELECT execution_key, completed_at FROM zart.runs
            WHERE is_current AND (listed_task, status, listed_at, execution_key)
                  >= (:task_name::text, s.status, '-infinity', 0)
              AND (listed_task, status, listed_at, execution_key)
                  < (:task_name, s.status, :ended_before::timestamptz, 0)
            ORDER BY listed_task, status, listed_at, execution_key LIMIT :most::bigint) r
    ), ended AS MATERIALIZED (
        SELECT execution_key FROM looked WHERE completed_at < :ended_before
    )
    SELECT count(*) FILTER (WHERE may_go), count(*) FILTER (WHERE NOT may_go),
        EXISTS (SELECT FROM looked GROUP BY status HAVING count(*) = :most)
    FROM (
        SELECT {_MAY_GO} AS may_go FROM ended CROSS JOIN LATERAL (
            SELECT execution_key, execution_id FROM zart.executions
            WHERE execution_key = ended.execution_key OFFSET 0) e) found
    """
)


async def count_ended(
    connection: Connection, task_name: str, ended_before: datetime, most: int
) -> tuple[int, int, bool]:
    """Count executions of a task that ended before a time.

    Of each status the ``most`` that began first are looked at. Return how many may be removed, how
    many may not, and whether there may be more.
    """
    row = await connection.fetchrow(
        _COUNT.text,
        *_COUNT.arguments(
            task_name=task_name,
            statuses=[status.value for status in FINISHED],
            ended_before=ended_before,
            most=most,
        ),
    )
    return (0, 0, False) if row is None else (row[0], row[1], row[2])


_GONE = "ANY(ARRAY(SELECT run_key FROM gone))"
_OF_RUNS = ", ".join(
    f"""{table} AS (
        DELETE FROM zart.{table} WHERE run_key = {_GONE}
    )"""
    for table in OF_RUNS
)
# From an operation to the request that asked for it, in one transaction, which takes no longer.
# A request id may be used again once its request is forgotten, which is before the execution goes.
_LONGEST = "1 hour"
_REMOVE = Statement(
    f"""
    WITH {_AT_WORK}, old AS MATERIALIZED (
        SELECT e.execution_key, e.execution_id
        FROM unnest(:execution_keys::bigint[]) k(execution_key)
        CROSS JOIN LATERAL (
            SELECT execution_key, execution_id FROM zart.executions
            WHERE execution_key = k.execution_key OFFSET 0) e
        CROSS JOIN LATERAL (
            SELECT completed_at FROM zart.runs WHERE runs.execution_key = e.execution_key
            ORDER BY run_number DESC LIMIT 1) r
        WHERE r.completed_at < :ended_before::timestamptz AND {_MAY_GO}
    ), gone AS MATERIALIZED (
        SELECT run_key FROM zart.runs
        WHERE execution_key = ANY(ARRAY(SELECT execution_key FROM old))
    ), {_OF_RUNS}, runs AS (
        DELETE FROM zart.runs WHERE run_key = {_GONE}
    ), executions AS (
        DELETE FROM zart.executions
        WHERE execution_key = ANY(ARRAY(SELECT execution_key FROM old))
    ), pause_exemptions AS (
        DELETE FROM zart.pause_exemptions WHERE ctid = ANY(ARRAY(
            SELECT x.row FROM old o
            CROSS JOIN LATERAL (
                SELECT ctid AS row, rule_key FROM zart.pause_exemptions
                WHERE execution_id = o.execution_id OFFSET 0) x
            CROSS JOIN LATERAL (
                SELECT FROM zart.pause_rules
                WHERE rule_key = x.rule_key AND deleted_at IS NOT NULL OFFSET 0) p))
    ), requests AS (
        DELETE FROM zart.requests WHERE ctid = ANY(ARRAY(
            SELECT q.row FROM old o
            CROSS JOIN LATERAL unnest(:kinds::text[], :rpcs::text[]) k(kind, rpc)
            CROSS JOIN LATERAL (
                SELECT principal, request_id, created_at FROM zart.operations
                WHERE execution_id = o.execution_id AND kind = k.kind OFFSET 0) p
            CROSS JOIN LATERAL (
                SELECT ctid AS row FROM zart.requests
                WHERE caller = p.principal AND rpc = k.rpc AND request_id = p.request_id
                  AND created_at BETWEEN p.created_at AND p.created_at + interval '{_LONGEST}'
                OFFSET 0) q))
    )
    SELECT (SELECT count(*) FROM old), (SELECT count(*) FROM gone)
    """,
    locks=(
        "executions, which the caller has locked",
        "runs, the current ones of which the caller has locked",
        *OF_RUNS,
        "pause_exemptions, of rules that have ended",
        "requests",
    ),
)


async def remove_ended(tx: Tx, execution_keys: Sequence[int], ended_before: datetime) -> Removed:
    """Remove executions that the caller has locked, with all that refers to them or to their runs.

    Only finished ones that ended before a time, have no attempt in doubt, are in no unfinished
    batch, and have no probe of a half-open breaker. What an active rule exempts stays: it is the
    rule's.
    """
    row = await tx.fetchrow(
        _REMOVE.text,
        *_REMOVE.arguments(
            execution_keys=execution_keys,
            ended_before=ended_before,
            kinds=[kind.value for kind in RPC_OF],
            rpcs=list(RPC_OF.values()),
        ),
    )
    return Removed(*(row or ()))
