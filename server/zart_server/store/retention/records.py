"""The record of what was removed: one operation a day, task and caller, added to while it lasts."""

from __future__ import annotations

import hashlib
from datetime import datetime

from zart_server.domain.commands import Caller
from zart_server.domain.operations import OperationKind
from zart_server.domain.retention import Removed
from zart_server.store.connection import Tx
from zart_server.store.statement import Statement

_KEY = Statement(
    """
    INSERT INTO zart.purge_records AS p (day, task_name, caller)
    VALUES ((statement_timestamp() AT TIME ZONE 'UTC')::date, :task_name, :caller)
    ON CONFLICT (day, task_name, caller) DO UPDATE SET operation_key = p.operation_key
    RETURNING day, operation_key
    """
)
_MADE = """json_build_object(
        'removed_executions', :executions::bigint + {executions},
        'removed_runs', :runs::bigint + {runs},
        'removed_operations', :operations::bigint + {operations},
        'ended_before', {ended_before})"""
_NAMES = ("executions", "runs", "operations")
_ENDED = ":ended_before::timestamptz"
_LATER = f"GREATEST((made->>'ended_before')::timestamptz, {_ENDED})"
_ADD = Statement(
    f"""
    UPDATE zart.operations SET made = {
        _MADE.format(
            **{name: f"COALESCE((made->>'removed_{name}')::bigint, 0)" for name in _NAMES},
            ended_before=_LATER,
        )
    }
    WHERE operation_key = :operation_key
    """,
    locks=("operations, the one that tells it",),
)
# The record may have been removed itself, and others made since: no key is used a second time, so
# that the order of keys is that of time, by which operations are listed and removed.
_RECORD = Statement(
    f"""
    WITH anew AS (
        UPDATE zart.purge_records SET operation_key = nextval('zart.operations_operation_key_seq')
        WHERE day = :day::date AND task_name = :task_name AND caller = :caller
        RETURNING operation_key
    )
    INSERT INTO zart.operations (operation_key, kind, task_name, triggered_by, principal, reason,
        request_id, incident, made) OVERRIDING SYSTEM VALUE
    SELECT operation_key, :kind, :task_name, :triggered_by, :principal, :reason, :request_id,
        :incident, {_MADE.format(**dict.fromkeys(_NAMES, 0), ended_before=_ENDED)}
    FROM anew
    """,
    locks=("purge_records, which the caller has locked",),
)


async def record_removed(
    tx: Tx, task_name: str, caller: Caller, removed: Removed, ended_before: datetime
) -> None:
    """Record what was removed of a task (empty: operations).

    The transaction began with ``ALLOW_PURGE``. Whoever else removes of it at the wish of the same
    caller waits for it.
    """
    of = {"task_name": task_name, "caller": _hash_of(caller)}
    [(day, key)] = await tx.fetch(_KEY.text, *_KEY.arguments(**of))
    values = {
        "executions": removed.executions,
        "runs": removed.runs,
        "operations": removed.operations,
        "ended_before": ended_before,
    }
    if await tx.execute(_ADD.text, *_ADD.arguments(**values, operation_key=key)):
        return
    await tx.execute(
        _RECORD.text,
        *_RECORD.arguments(
            **values,
            **of,
            day=day,
            kind=OperationKind.PURGE.value,
            triggered_by=caller.triggered_by,
            principal=caller.principal,
            reason=caller.reason,
            request_id=caller.request_id,
            incident=caller.incident,
        ),
    )


def _hash_of(caller: Caller) -> bytes:
    who = (caller.triggered_by, caller.principal, caller.reason, caller.incident)
    return hashlib.sha256("\0".join(who).encode()).digest()


async def forget_records(tx: Tx) -> None:
    """Forget which operations told what was removed on days that are over; wait for nobody."""
    await tx.execute(
        "DELETE FROM zart.purge_records WHERE ctid = ANY(ARRAY(SELECT ctid FROM zart.purge_records"
        " WHERE day < (statement_timestamp() AT TIME ZONE 'UTC')::date - 1"
        " FOR UPDATE SKIP LOCKED))"
    )
