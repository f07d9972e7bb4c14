"""Reads what unfinished executions wait for, for a page of them in one statement."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.waiting import waiting_for_rule, waiting_in_queue
from zart_server.store.db import Tx


async def execution_waits(tx: Tx, run_keys: Sequence[int]) -> dict[int, str]:
    """Say what each run waits for, by run key; runs that are finished or at work are missing."""
    rows = await tx.fetch(
        """
        WITH settling AS MATERIALIZED (
            SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
        )
        SELECT r.run_key, e.task_name, w.step_name, w.not_before, n.last_asked_at,
            p.rule_id, p.created_by, p.reason, statement_timestamp() AS now
        FROM zart.runs r JOIN zart.executions e USING (execution_key)
        LEFT JOIN zart.task_names n USING (task_name)
        CROSS JOIN LATERAL (
            SELECT t.* FROM (
                SELECT step_no, step_name, not_before, lease_token, NULL::bigint AS rule_key
                FROM zart.tasks q WHERE q.run_key = r.run_key
                UNION ALL
                SELECT step_no, step_name, not_before, NULL, rule_key
                FROM zart.held h WHERE h.run_key = r.run_key) t
            ORDER BY t.lease_token IS NULL, t.rule_key IS NULL, t.step_no LIMIT 1) w
        LEFT JOIN zart.pause_rules h ON h.rule_key = w.rule_key
        LEFT JOIN zart.pause_rules p ON p.rule_key = CASE
            WHEN w.rule_key IS NOT NULL AND h.deleted_at IS NULL THEN w.rule_key
            WHEN w.rule_key IS NOT NULL OR (SELECT yes FROM settling)
                THEN zart.pausing_rule(e.execution_id, e.task_name, w.step_name) END
        WHERE r.run_key = ANY($1::bigint[]) AND r.status IN ('scheduled', 'running')
          AND w.lease_token IS NULL
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
