"""Removes finished executions of one task: a piece, in the transaction of whoever wants it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from zart_server.domain.commands import Caller
from zart_server.domain.retention import Removed
from zart_server.store.connection import Tx
from zart_server.store.retention.finding import Looked
from zart_server.store.retention.records import record_removed
from zart_server.store.retention.removing import lock_ended, remove_ended


async def remove_piece(
    tx: Tx, task_name: str, looked: Sequence[Looked], ended_before: datetime, caller: Caller
) -> Removed:
    """Remove those of these executions that may go, and record it; others stay for a later look.

    The transaction has to have begun with ``ALLOW_PURGE``. It waits for nobody's row.
    """
    keys = [one.position.execution_key for one in looked if one.overdue > 0]
    locked = await lock_ended(tx, keys) if keys else []
    removed = await remove_ended(tx, locked, ended_before) if locked else Removed()
    if removed.executions:
        await record_removed(tx, task_name, caller, removed, ended_before)
    return removed
