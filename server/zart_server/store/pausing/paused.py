"""Paused steps, which ``zart.held`` keeps in the order of each rule, and their release."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.rule_set import Judgement, StepNames
from zart_server.store.arrays import numbers
from zart_server.store.connection import Connection, Tx
from zart_server.store.pausing.matching import unfinished_run
from zart_server.store.queue import TASK_COLUMNS
from zart_server.store.statement import Statement


class PausedStep(NamedTuple):
    """A paused step of a run whose row this transaction has locked.

    ``let_go`` are the rules that have let go the attempt that is paused. ``execution_id`` is empty
    where nobody asked for it.
    """

    run_key: int
    step_no: int
    attempt: int
    execution_id: str
    task_name: str
    handler: str
    step_name: str
    lane: int
    not_before: datetime
    queue_no: int
    let_go: Sequence[int]

    @property
    def names(self) -> StepNames:
        """The step as pause rules know it."""
        return self.execution_id, self.task_name, self.step_name, self.let_go

    @property
    def cursor(self) -> tuple[datetime, int]:
        """Where the step stands in its lane."""
        return self.not_before, self.queue_no


class PausedAt(NamedTuple):
    """Where a paused step stands in the order of its rule's steps, and its run."""

    not_before: datetime
    queue_no: int
    run_key: int


async def paused_by_rule(
    connection: Connection, rule_key: int, after: PausedAt | None, limit: int
) -> list[PausedAt]:
    """Return the oldest paused steps attributed to a rule, after one of them; locks nothing."""
    rows = await connection.fetch(
        # Compared as a whole, as no other index has it: that of lanes has its order, too.
        "SELECT not_before, queue_no, run_key FROM zart.held WHERE (rule_key, not_before, queue_no)"
        " > ($1::bigint, COALESCE($2, '-infinity'::timestamptz), $3::bigint)"
        " AND (rule_key, not_before, queue_no) < ($1 + 1, '-infinity'::timestamptz, 0)"
        " ORDER BY rule_key, not_before, queue_no LIMIT $4",
        rule_key,
        None if after is None else after.not_before,
        -1 if after is None else after.queue_no,
        limit,
    )
    return [PausedAt(*row) for row in rows]


async def paused_with_names(
    connection: Connection, rule_key: int, after: PausedAt | None, limit: int
) -> list[tuple[PausedAt, StepNames]]:
    """Return what ``paused_by_rule`` does, each step also as pause rules know it; locks nothing."""
    rows = await connection.fetch(
        """
        SELECT h.not_before, h.queue_no, h.run_key, e.execution_id, l.task_name, h.step_name, ARRAY(
                SELECT s.rule_key FROM zart.released_steps s
                WHERE s.run_key = h.run_key AND s.step_no = h.step_no AND s.attempt = h.attempt
                  AND s.token_until IS NULL)
        FROM (
            SELECT * FROM zart.held WHERE (rule_key, not_before, queue_no)
                > ($1::bigint, COALESCE($2, '-infinity'::timestamptz), $3::bigint)
              AND (rule_key, not_before, queue_no) < ($1 + 1, '-infinity'::timestamptz, 0)
            ORDER BY rule_key, not_before, queue_no LIMIT $4) h
        CROSS JOIN LATERAL (SELECT task_name FROM zart.lanes WHERE lane = h.lane OFFSET 0) l
        CROSS JOIN LATERAL (
            SELECT execution_id FROM zart.executions WHERE execution_key = (
                SELECT execution_key FROM zart.runs WHERE run_key = h.run_key) OFFSET 0) e
        ORDER BY h.not_before, h.queue_no
        """,
        rule_key,
        None if after is None else after.not_before,
        -1 if after is None else after.queue_no,
        limit,
    )
    return [(PausedAt(*row[:3]), (row[3], row[4], row[5], row[6])) for row in rows]


async def run_of(connection: Connection, execution_id: str) -> int | None:
    """Return the unfinished run of an execution, if it has one; locks nothing."""
    run_key: int | None = await connection.fetchval(
        f"SELECT run_key FROM ({unfinished_run('$1')}) u", execution_id
    )
    return run_key


_IN_RUNS = Statement(
    """
    SELECT h.run_key, h.step_no, h.attempt, CASE WHEN :of_executions::boolean THEN (
            SELECT execution_id FROM zart.executions WHERE execution_key = (
                SELECT execution_key FROM zart.runs WHERE run_key = h.run_key))
        ELSE '' END, l.task_name, l.handler,
        h.step_name, h.lane, h.not_before, h.queue_no, ARRAY(
            SELECT s.rule_key FROM zart.released_steps s
            WHERE s.run_key = h.run_key AND s.step_no = h.step_no AND s.attempt = h.attempt
              AND s.token_until IS NULL)
    FROM (
        SELECT h.* FROM unnest(:run_keys::text::bigint[]) u(run_key) CROSS JOIN LATERAL (
            SELECT * FROM zart.held WHERE run_key = u.run_key OFFSET 0) h
        WHERE h.rule_key = :rule_key::bigint
          AND (:last_queue_no::bigint IS NULL OR h.queue_no <= :last_queue_no)
        ORDER BY h.not_before, h.queue_no LIMIT :limit::bigint) h
    CROSS JOIN LATERAL (
        SELECT FROM zart.held WHERE held.run_key = h.run_key AND held.step_no = h.step_no
        FOR UPDATE SKIP LOCKED) free
    CROSS JOIN LATERAL (SELECT * FROM zart.lanes WHERE lane = h.lane OFFSET 0) l
    ORDER BY h.not_before, h.queue_no
    """,
    locks=("held, passing over locked rows",),
)


async def paused_in_runs(
    tx: Tx,
    rule_key: int,
    run_keys: Sequence[int],
    limit: int,
    last_queue_no: int | None = None,
    *,
    of_executions: bool = True,
) -> list[PausedStep]:
    """Lock and return the oldest paused steps, attributed to a rule, of runs that are locked.

    Those that somebody has locked without their run are left out: nobody waits for them here, where
    a Pause would wait too.
    With a ``last_queue_no``: of those that were ready up to that. What has let a step go stays so
    only where the caller holds the pause lock, shared. Which executions they are of is two lookups
    more for each.
    """
    values = _IN_RUNS.arguments(
        rule_key=rule_key,
        run_keys=numbers(run_keys),
        limit=limit,
        last_queue_no=last_queue_no,
        of_executions=of_executions,
    )
    return [PausedStep(*row) for row in await tx.fetch(_IN_RUNS.text, *values)]


_RELEASE = Statement(
    f"""
        WITH steps AS MATERIALIZED (
            SELECT run_key, step_no, NULLIF(rule, 0) AS rule
            FROM unnest(:run_keys::text::bigint[], :step_nos::text::integer[],
                :rules::text::bigint[]) u(run_key, step_no, rule)
            WHERE :epoch::bigint = (SELECT epoch FROM zart.pause_epoch)
        ), picked AS MATERIALIZED (
            SELECT h.tid, s.rule FROM steps s CROSS JOIN LATERAL (
                SELECT ctid AS tid FROM zart.held
                WHERE held.run_key = s.run_key AND held.step_no = s.step_no OFFSET 0) h
        ), kept AS (
            UPDATE zart.held h SET rule_key = p.rule FROM picked p
            WHERE h.ctid = p.tid AND p.rule IS NOT NULL
        ), gone AS (
            DELETE FROM zart.held WHERE ctid = ANY(ARRAY(SELECT tid FROM picked WHERE rule IS NULL))
            RETURNING {TASK_COLUMNS}
        ), queued AS (
            INSERT INTO zart.queue ({TASK_COLUMNS})
            SELECT {TASK_COLUMNS} FROM gone
            ORDER BY not_before, queue_no
        )
        SELECT epoch FROM zart.pause_epoch
        """,
    locks=("held",),
)


async def release(tx: Tx, steps: Sequence[PausedStep], judgement: Judgement) -> int | None:
    """Queue paused steps, or attribute them to the rules that withhold them now; return how many.

    Their lane cursors and attempts stay. The caller has locked the runs and holds the pause lock,
    shared. Return None, having done nothing, if the rules have changed since the judgement.
    """
    values = _RELEASE.arguments(
        run_keys=numbers(step.run_key for step in steps),
        step_nos=numbers(step.step_no for step in steps),
        rules=numbers(rule or 0 for _, rule in judgement.beside(steps)),
        epoch=judgement.epoch,
    )
    found = await tx.fetchval(_RELEASE.text, *values)
    return len(steps) if found == judgement.epoch else None
