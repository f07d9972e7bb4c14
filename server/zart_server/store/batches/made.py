"""What the items of a batch have made, as it is now."""

from __future__ import annotations

from typing import NamedTuple

from zart_server.domain.batch_counts import Outcomes
from zart_server.domain.batches import BatchKind
from zart_server.store.connection import Connection
from zart_server.store.pausing.exempting import holds
from zart_server.store.statement import Statement

# So many ready steps of a run are looked at, in their order, for one that a rule withholds. More
# tell no more: what is held or queued otherwise than the rules have it is moved within moments.
_LOOKED_AT = 20
_ARE_SETTLING = "EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle')"


def _is_held(run: str) -> str:
    """Return the condition that a rule withholds what is held, h, of an item i and its run."""
    return f"""({holds("h.rule_key", "i.execution_id")}
        OR zart.pausing_rule(i.execution_id, {run}.listed_task, h.step_name, h.run_key, h.step_no,
            h.attempt) IS NOT NULL)"""


def _is_settled(run: str) -> str:
    """Return the condition that a rule that is settling withholds what is queued, q."""
    return f"""zart.settling_rule(i.execution_id, {run}.listed_task, q.step_name, q.run_key,
        q.step_no, q.attempt) IS NOT NULL"""


# Of an item i the run that it made, or that it is of: the number of that run is :made more. And of
# that run r the step, if the item has one.
_RUN = """
        SELECT run_key, status, is_current, listed_task FROM zart.runs
        WHERE runs.execution_key = i.execution_key
          AND run_number = i.run_number + CASE WHEN i.status = 'done' THEN :made::integer ELSE 0 END
        OFFSET 0"""
_STEP = """
        SELECT status FROM zart.steps
        WHERE steps.run_key = r.run_key AND steps.step_no = i.step_no OFFSET 0"""
# Both, and how they stand: the step PENDING where it stands nowhere; queued ones that a settling
# rule matches are paused, as reads have it.
MADE = f"""
    SELECT r.is_current, r.status AS run_status, r.run_key, r.listed_task,
        CASE WHEN s.status <> 'open' THEN s.status
            WHEN l.run_key IS NOT NULL THEN 'running'
            WHEN h.run_key IS NOT NULL
            THEN CASE WHEN {_is_held("r")} THEN 'paused' ELSE 'scheduled' END
            WHEN q.run_key IS NOT NULL
            THEN CASE WHEN {_ARE_SETTLING} AND {_is_settled("r")} THEN 'paused' ELSE 'scheduled' END
            WHEN s.status IS NOT NULL THEN 'pending' END AS step_status
    FROM ({_RUN}) r
    LEFT JOIN LATERAL ({_STEP}) s ON true
    LEFT JOIN LATERAL (
        SELECT run_key FROM zart.leases WHERE s.status = 'open'
            AND leases.run_key = r.run_key AND leases.step_no = i.step_no OFFSET 0) l ON true
    LEFT JOIN LATERAL (
        SELECT run_key, step_no, step_name, attempt, rule_key FROM zart.held
        WHERE s.status = 'open'
            AND held.run_key = r.run_key AND held.step_no = i.step_no OFFSET 0) h ON true
    LEFT JOIN LATERAL (
        SELECT run_key, step_no, step_name, attempt FROM zart.queue WHERE s.status = 'open'
            AND queue.run_key = r.run_key AND queue.step_no = i.step_no OFFSET 0) q ON true
"""
_OF_STEP = "CASE WHEN step_status = 'cancelled' THEN 'superseded' ELSE step_status END"
# An unfinished run is what its steps are.
_OF_RUN = f"""
    CASE run_status
        WHEN 'completed' THEN 'completed'
        WHEN 'failed' THEN 'dead'
        WHEN 'cancelled' THEN CASE WHEN :is_cancel::boolean THEN 'cancelled' ELSE 'superseded' END
        ELSE CASE
            WHEN (SELECT true FROM zart.leases WHERE leases.run_key = m.run_key LIMIT 1)
                THEN 'running'
            WHEN (SELECT true FROM (
                    SELECT * FROM zart.held WHERE held.run_key = m.run_key
                    ORDER BY step_no LIMIT {_LOOKED_AT}) h WHERE {_is_held("m")} LIMIT 1)
                THEN 'paused'
            WHEN {_ARE_SETTLING} AND (SELECT true FROM (
                    SELECT * FROM zart.queue WHERE queue.run_key = m.run_key
                    ORDER BY step_no LIMIT {_LOOKED_AT}) q WHERE {_is_settled("m")} LIMIT 1)
                THEN 'paused'
            WHEN (SELECT true FROM zart.queue WHERE queue.run_key = m.run_key LIMIT 1)
                OR (SELECT true FROM zart.held WHERE held.run_key = m.run_key LIMIT 1)
                THEN 'scheduled'
            ELSE 'pending' END
    END"""
_COUNT = Statement(
    f"""
    SELECT outcome, count(*) FROM (
        SELECT CASE WHEN m.is_current IS NOT TRUE THEN 'superseded'
            WHEN i.step_no >= 0 THEN {_OF_STEP} ELSE {_OF_RUN} END AS outcome
        FROM (
            SELECT * FROM zart.batch_items WHERE batch_key = :batch_key AND status = 'done') i
        LEFT JOIN LATERAL ({MADE}) m ON true) o
    GROUP BY outcome
    """
)
# What is dead is told by the run and the step alone.
_COUNT_DEAD = Statement(
    f"""
    SELECT count(*) AS looked_at, max(i.item_no) AS last_item,
        count(*) FILTER (WHERE r.is_current AND
            CASE WHEN i.step_no >= 0 THEN s.status = 'dead' ELSE r.status = 'failed' END) AS dead
    FROM (
        SELECT * FROM zart.batch_items
        WHERE batch_key = :batch_key AND status = 'done' AND item_no > :after::bigint
        ORDER BY item_no LIMIT :limit::integer) i
    LEFT JOIN LATERAL ({_RUN}) r ON true
    LEFT JOIN LATERAL ({_STEP}) s ON true
    """
)


class DeadOfRange(NamedTuple):
    """How many of some items made what is dead, and the last one of these; 0: it was the last."""

    dead: int
    last_item: int


async def count_outcomes(connection: Connection, batch_key: int, kind: BatchKind) -> Outcomes:
    """Count what became of what the items that are done have made."""
    values = _COUNT.arguments(
        batch_key=batch_key,
        made=int(kind.makes_runs),
        is_cancel=kind is BatchKind.CANCEL_EXECUTION,
    )
    rows = await connection.fetch(_COUNT.text, *values)
    return Outcomes(**{row[0]: row[1] for row in rows})


async def count_dead_again(
    connection: Connection, batch_key: int, kind: BatchKind, after: int, limit: int
) -> DeadOfRange:
    """Count what is dead of what items have made that are done: of so many of them, after one."""
    values = _COUNT_DEAD.arguments(
        batch_key=batch_key, made=int(kind.makes_runs), after=after, limit=limit
    )
    [row] = await connection.fetch(_COUNT_DEAD.text, *values)
    return DeadOfRange(row["dead"], row["last_item"] if row["looked_at"] == limit else 0)
