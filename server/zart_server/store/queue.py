"""The queue: tasks that are ready and wait for a dispatcher, by lane and in order.

A queued task is named by the run, the step and the attempt it is for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

from zart_server.store.connection import Tx
from zart_server.store.statement import Statement

# Where a task stands in its lane: (not_before, queue_no).
LaneCursor: TypeAlias = tuple[datetime, int]
# What a ready step is: the same columns in zart.queue, zart.held and zart.leases. Which correction
# of its input it is for is known by its row, 0: none.
READY_COLUMNS = """run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
    timeout_seconds, step_name, correction"""
# A task that was queued has its place in its lane, too, and since when it is ready.
TASK_COLUMNS = f"{READY_COLUMNS}, queue_no, not_before, scheduled_at"
_TASK_ID = re.compile(r"([0-9a-f]{1,15})-([0-9a-f]{1,7})-[0-9a-f]{1,7}")


def task_id_of(run_key: int, step_no: int, attempt: int) -> str:
    """Name a queued task; opaque to callers, the same as the SQL function zart.task_id."""
    return "%x-%x-%x" % (run_key, step_no, attempt)  # noqa: UP031 - half of what an f-string takes


def parse_task_id(task_id: str) -> tuple[int, int] | None:
    """Return run key and step number; None where the text is no task id."""
    match = _TASK_ID.fullmatch(task_id)
    if match is None:
        return None
    run_key, step_no = match.groups()
    return int(run_key, 16), int(step_no, 16)


_LOCK_RUNS = """
    WITH locked AS MATERIALIZED (
        SELECT FROM zart.queue WHERE run_key = ANY($1::bigint[]) ORDER BY run_key, step_no
        FOR UPDATE
    )
    SELECT (SELECT count(*) FROM zart.queue WHERE run_key = ANY($1::bigint[]))
        = (SELECT count(*) FROM locked)
"""


async def lock_queued(tx: Tx, run_keys: Sequence[int]) -> None:
    """Lock all queue rows of runs in order, waiting for claims; the caller has locked the runs.

    A claim that was waited for may have put its task back, as another row, which the next claim may
    have locked meanwhile. So this goes on until it has locked all rows that it has seen: no others
    come while the runs are locked.
    """
    while not await tx.fetchval(_LOCK_RUNS, run_keys):
        pass


_LOCK_STEPS = Statement(
    """
    WITH steps AS MATERIALIZED (
        SELECT * FROM unnest(:run_keys::bigint[], :step_nos::integer[]) u(run_key, step_no)
        ORDER BY run_key, step_no
    ), seen AS MATERIALIZED (
        SELECT u.* FROM steps u CROSS JOIN LATERAL (
            SELECT FROM zart.queue
            WHERE queue.run_key = u.run_key AND queue.step_no = u.step_no OFFSET 0) q
    ), locked AS MATERIALIZED (
        SELECT u.* FROM steps u CROSS JOIN LATERAL (
            SELECT FROM zart.queue
            WHERE queue.run_key = u.run_key AND queue.step_no = u.step_no FOR UPDATE) q
    )
    SELECT (SELECT count(*) FROM seen) = (SELECT count(*) FROM locked)
    """,
    locks=("queue",),
)


async def lock_queued_steps(tx: Tx, steps: Sequence[tuple[int, int]]) -> None:
    """Lock the queue rows of steps, as ``lock_queued`` does those of whole runs."""
    run_keys, step_nos = zip(*steps, strict=True)
    values = _LOCK_STEPS.arguments(run_keys=run_keys, step_nos=step_nos)
    while not await tx.fetchval(_LOCK_STEPS.text, *values):
        pass
