"""Counts the executions that a filter matches, in little time or as lower bounds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from zart_server.domain.filters import ExecutionCounts, ExecutionFilter
from zart_server.domain.model import RunStatus, StepStatus
from zart_server.store.connection import Connection, Tx
from zart_server.store.reads.filtered import find_filtered
from zart_server.store.reads.fitting import HELD_PAUSED, NOWHERE, QUEUED_PAUSED, WORK, has_row
from zart_server.store.reads.listed_runs import CURRENT, DEAD, Range, key_order, key_range, range_of
from zart_server.store.statement import Statement

_PIECE = 250  # runs
_STEPS = 5_000  # of the runs of a piece; the last one of them may have more
_LOOKING = 0.05  # seconds, after which no further piece is looked at
_COUNTING = 0.12  # seconds that all may take where more is counted by an index
_MANY, _MOST = 5_000, 500_000  # of a status: at once, and where there is time for more


def _counting(where: str, *, of_task: bool) -> Statement:
    """Return the query that counts the runs of a range by status, so many of each at most."""
    condition, order = key_range(of_task=of_task), key_order(of_task=of_task)
    return Statement(f"""
        SELECT s.status, c.n FROM unnest(:statuses::text[]) s(status) CROSS JOIN LATERAL (
            SELECT count(*) AS n FROM (
                SELECT FROM zart.runs WHERE {where} AND {condition}
                ORDER BY {order} LIMIT :limit::bigint) r) c
        WHERE :task_name::text IS NOT NULL
    """)


_COUNT = {
    f"{which} {of}": _counting(where, of_task=of == "of a task")
    for which, where in (("current", CURRENT), ("with dead steps", DEAD))
    for of in ("of all tasks", "of a task")
}
# Completed steps are in all completed runs, cancelled ones in all cancelled runs and in no others:
# so nobody looks through the steps of wide runs for what cannot be there.
_STATES = Statement(f"""
    WITH settling AS MATERIALIZED (SELECT {WORK.format("settle")} AS yes), sized AS (
        SELECT c.*, u.n, sum(z.size) OVER (
            ORDER BY u.n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
        FROM unnest(:run_keys::bigint[]) WITH ORDINALITY u(run_key, n) CROSS JOIN LATERAL (
            SELECT run_key, execution_key, listed_task, status, dead_steps FROM zart.runs
            WHERE run_key = u.run_key OFFSET 0) c
        CROSS JOIN LATERAL (
            SELECT COALESCE((
                SELECT step_no + 1 FROM zart.steps s WHERE s.run_key = c.run_key
                ORDER BY step_no DESC LIMIT 1), 1) AS size OFFSET 0) z
    )
    SELECT c.status,
        CASE WHEN c.dead_steps > 0 THEN true ELSE false END AS dead,
        {has_row("leases", "true")} AS running,
        {has_row("queue", f"NOT {QUEUED_PAUSED}")} OR {has_row("held", f"NOT {HELD_PAUSED}")}
            AS scheduled,
        {has_row("held", HELD_PAUSED)} OR {has_row("queue", QUEUED_PAUSED)} AS paused,
        CASE WHEN c.status IN ('completed', 'cancelled') THEN false
            ELSE {has_row("steps", f"t.status = 'open' AND {NOWHERE}")} END AS pending,
        CASE WHEN c.status = 'completed' THEN true
            ELSE {has_row("steps", "t.status = 'completed'")} END AS completed,
        c.status = 'cancelled' AS cancelled
    FROM sized c WHERE before IS NULL OR before < :max_steps::bigint
    ORDER BY n
""")


async def count_executions(tx: Tx, wanted: ExecutionFilter) -> ExecutionCounts:
    """Count what a filter matches. ``tx`` is a snapshot. Raises as ``find_filtered``."""
    begun = time.monotonic()
    by_status: Counter[RunStatus] = Counter()
    states: Counter[StepStatus] = Counter()
    after_key: int | None = None
    while True:
        found = await find_filtered(tx, wanted, after_key, _PIECE + 1)
        looked = await _states_of(tx, [run.run_key for run in found.runs[:_PIECE]])
        for status, of_run in looked:
            by_status[status] += 1
            states.update(of_run)
        after_key = found.next_key(len(looked))
        if after_key is None or time.monotonic() >= begun + _LOOKING:
            break
    is_partial = is_lower_bound = after_key is not None
    if is_partial and _has_an_index(wanted):
        by_status, is_lower_bound = await _count(tx, wanted, begun + _COUNTING)
    return ExecutionCounts(sum(by_status.values()), is_lower_bound, by_status, states, is_partial)


def _has_an_index(wanted: ExecutionFilter) -> bool:
    """Return whether an index alone tells what is to be counted."""
    return set(wanted.step_statuses) <= {StepStatus.DEAD} and not (
        wanted.has_error_conditions
        or wanted.step_pattern
        or wanted.has_other_conditions
        or wanted.rule_id
    )


async def _states_of(
    connection: Connection, run_keys: Sequence[int]
) -> list[tuple[RunStatus, list[StepStatus]]]:
    """Return the status of each run, and the states in which it has steps.

    Of runs of many steps the first are looked at: as many runs as are answered.
    """
    values = _STATES.arguments(run_keys=run_keys, max_steps=_STEPS)
    rows = await connection.fetch(_STATES.text, *values)
    return [
        (
            RunStatus(row["status"]),
            [state for state in StepStatus if row[state.value]],
        )
        for row in rows
    ]


async def _count(tx: Tx, wanted: ExecutionFilter, until: float) -> tuple[Counter[RunStatus], bool]:
    """Count by an index, and on where there are many, as far as it can be by then."""
    created = wanted.created_after, wanted.created_before
    part = await range_of(tx, wanted.task_name, wanted.statuses, created, None)
    if part is None:
        return Counter(), False
    which = "with dead steps" if wanted.step_statuses else "current"
    begun = time.monotonic()
    counts = await _counted(tx, which, part, _MANY)
    open_ended = {status for status, n in counts.items() if n >= _MANY}
    seen = sum(counts.values())
    for status in sorted(open_ended):
        # As many as there is time for, at the speed of before: how fast it is tells only itself.
        now = time.monotonic()
        most = min(int(seen / (now - begun) * (until - now)), _MOST)
        if most <= counts[status]:
            break
        begun = now
        counts |= await _counted(tx, which, part._replace(statuses=[status]), most)
        seen = counts[status]
        if seen < most:
            open_ended.remove(status)
    return counts, bool(open_ended)


async def _counted(
    connection: Connection, which: str, part: Range, most: int
) -> Counter[RunStatus]:
    """Count the runs of a range by status, so many of each at most."""
    statement = _COUNT[f"{which} {'of a task' if part.task_name else 'of all tasks'}"]
    rows = await connection.fetch(statement.text, *statement.arguments(**part.arguments(most)))
    return Counter({RunStatus(row[0]): row[1] for row in rows})
