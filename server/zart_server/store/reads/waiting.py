"""Reads what unfinished executions wait for, for a page of them in one statement."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from zart_server.domain.model import Step, StepStatus
from zart_server.domain.waiting import waiting_for_rule, waiting_in_queue
from zart_server.store.connection import Connection
from zart_server.store.pausing.exempting import holds


async def execution_waits(connection: Connection, run_keys: Sequence[int]) -> dict[int, str]:
    """Say what each run waits for, by run key; runs that are finished or at work are missing."""
    rows = await connection.fetch(
        f"""
        WITH settling AS MATERIALIZED (
            SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
        )
        SELECT r.run_key, e.task_name, w.step_name, w.not_before, n.last_asked_at,
            p.rule_id, p.created_by, p.reason, statement_timestamp() AS now
        FROM unnest($1::bigint[]) u(run_key)
        CROSS JOIN LATERAL (
            SELECT run_key, execution_key FROM zart.runs
            WHERE runs.run_key = u.run_key AND completed_at IS NULL OFFSET 0) r
        CROSS JOIN LATERAL (
            SELECT * FROM zart.executions
            WHERE executions.execution_key = r.execution_key OFFSET 0) e
        CROSS JOIN LATERAL (  -- the first that is paused, else the first that is queued
            SELECT * FROM (
                (SELECT step_no, step_name, attempt, not_before, rule_key FROM zart.held
                 WHERE held.run_key = r.run_key ORDER BY step_no LIMIT 1)
                UNION ALL
                (SELECT step_no, step_name, attempt, not_before, NULL FROM zart.queue
                 WHERE queue.run_key = r.run_key ORDER BY step_no LIMIT 1)) t
            ORDER BY rule_key IS NULL LIMIT 1) w
        LEFT JOIN LATERAL (
            SELECT * FROM zart.task_names
            WHERE task_names.task_name = e.task_name OFFSET 0) n ON true
        LEFT JOIN LATERAL (
            SELECT CASE
                WHEN w.rule_key IS NOT NULL AND {holds("w.rule_key", "e.execution_id")}
                THEN w.rule_key
                WHEN w.rule_key IS NOT NULL
                THEN zart.pausing_rule(e.execution_id, e.task_name, w.step_name,
                    r.run_key, w.step_no, w.attempt)
                WHEN (SELECT yes FROM settling)
                THEN zart.settling_rule(e.execution_id, e.task_name, w.step_name,
                    r.run_key, w.step_no, w.attempt) END AS key
            OFFSET 0) rule ON true
        LEFT JOIN LATERAL (
            SELECT * FROM zart.pause_rules
            WHERE pause_rules.rule_key = rule.key OFFSET 0) p ON true
        WHERE NOT EXISTS (SELECT FROM zart.leases l WHERE l.run_key = r.run_key OFFSET 0)
        """,
        run_keys,
    )
    found = {}
    for row in rows:
        if row["rule_id"] is not None:
            what = waiting_for_rule(row["rule_id"], row["created_by"], row["reason"])
        else:
            what = waiting_in_queue(
                row["task_name"], row["not_before"], row["now"], row["last_asked_at"]
            )
        found[row["run_key"]] = f"{row['step_name']}: {what}"
    return found


def waits_for(rows: Sequence[asyncpg.Record], steps: Sequence[Step]) -> str:
    """Say what a run waits for: its first withheld step, else its first queued one.

    Nothing where one of its steps is at work.
    """
    if any(step.status is StepStatus.RUNNING for step in steps):
        return ""
    ready = [
        (row["held_attempt"] is None, step)
        for row, step in zip(rows, steps, strict=True)
        if step.status in (StepStatus.SCHEDULED, StepStatus.PAUSED)
    ]
    if not ready:
        return ""
    _, first = min(ready, key=lambda item: item[0])
    return f"{first.step_name}: {first.waiting_on}"
