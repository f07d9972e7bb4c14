"""What must hold in the database at any moment, as SQL that finds what breaks it."""

from __future__ import annotations

from typing import Any

import asyncpg

# name → a query that gives rows only where the invariant is broken
INVARIANTS = {
    "one unfinished run": """
        SELECT execution_key FROM zart.runs WHERE status IN ('scheduled', 'running')
        GROUP BY execution_key HAVING count(*) > 1""",
    "the unfinished run is the newest": """
        SELECT r.run_key FROM zart.runs r WHERE r.status IN ('scheduled', 'running')
        AND EXISTS (SELECT FROM zart.runs n WHERE n.execution_key = r.execution_key
                    AND n.run_number > r.run_number)""",
    "run numbers have no gap": """
        SELECT execution_key FROM zart.runs GROUP BY execution_key
        HAVING min(run_number) <> 0 OR max(run_number) <> count(*) - 1""",
    "one current run": """
        SELECT execution_key FROM zart.runs GROUP BY execution_key
        HAVING count(*) FILTER (WHERE is_current) <> 1
            OR max(run_number) FILTER (WHERE is_current) <> max(run_number)""",
    "a ready step is queued or held, once; no other step is": """
        SELECT s.run_key, s.step_no FROM zart.steps s
        LEFT JOIN zart.queue q USING (run_key, step_no) LEFT JOIN zart.held h USING (run_key, step_no)
        WHERE (s.status = 'ready') <> ((q.run_key IS NOT NULL) <> (h.run_key IS NOT NULL))
           OR (q.run_key IS NOT NULL AND h.run_key IS NOT NULL)""",
    "a queued or held step exists": """
        SELECT run_key, step_no FROM zart.queue FULL JOIN zart.held USING (run_key, step_no)
        WHERE NOT EXISTS (SELECT FROM zart.steps s WHERE (s.run_key, s.step_no) =
            (COALESCE(queue.run_key, held.run_key), COALESCE(queue.step_no, held.step_no)))""",
    "nothing is ready in a finished run": """
        SELECT s.run_key FROM zart.steps s JOIN zart.runs r USING (run_key)
        WHERE s.status = 'ready' AND r.status NOT IN ('scheduled', 'running')""",
    "a completed run has only completed steps": """
        SELECT r.run_key FROM zart.runs r JOIN zart.steps s USING (run_key)
        WHERE r.status = 'completed' AND s.status <> 'completed'""",
    "an unfinished run has a ready step": """
        SELECT r.run_key FROM zart.runs r WHERE r.status IN ('scheduled', 'running')
        AND NOT EXISTS (SELECT FROM zart.steps s WHERE s.run_key = r.run_key
                        AND s.status = 'ready')""",
    "a failed run has a dead step": """
        SELECT r.run_key FROM zart.runs r WHERE r.status = 'failed'
        AND NOT EXISTS (SELECT FROM zart.steps s WHERE s.run_key = r.run_key
                        AND s.status = 'dead')""",
    "dead steps are counted": """
        SELECT r.run_key FROM zart.runs r WHERE r.dead_steps <> (
            SELECT count(*) FROM zart.steps s WHERE s.run_key = r.run_key AND s.status = 'dead')""",
    "one outcome": """
        SELECT run_key, step_no FROM zart.attempts WHERE status = 'completed'
        GROUP BY run_key, step_no HAVING count(*) > 1""",
    "a completed step has its completed attempt": """
        SELECT s.run_key, s.step_no FROM zart.steps s WHERE s.status = 'completed'
        AND NOT EXISTS (SELECT FROM zart.attempts a WHERE a.status = 'completed'
            AND a.run_key = COALESCE(s.source_run_key, s.run_key) AND a.step_no = s.step_no)""",
    "a preserved step's source is a completed step of the same execution": """
        SELECT s.run_key, s.step_no FROM zart.steps s JOIN zart.runs r USING (run_key)
        LEFT JOIN zart.steps o ON o.run_key = s.source_run_key AND o.step_no = s.step_no
        LEFT JOIN zart.runs src ON src.run_key = s.source_run_key
        WHERE s.source_run_key IS NOT NULL AND (o.status IS DISTINCT FROM 'completed'
            OR o.source_run_key IS NOT NULL OR src.execution_key <> r.execution_key)""",
    "tokens only grow": """
        SELECT * FROM (SELECT a.run_key, step_no, lease_token, lag(lease_token) OVER (
                PARTITION BY r.execution_key, step_no ORDER BY r.run_number, attempt) AS before
            FROM zart.attempts a JOIN zart.runs r USING (run_key)) t
        WHERE lease_token <= before""",
    "attempts are numbered without reuse": """
        SELECT run_key, step_no FROM zart.attempts GROUP BY run_key, step_no
        HAVING min(attempt) <> 1 OR max(attempt) <> count(*)""",
    "every change is on record": """
        SELECT e.execution_id FROM zart.executions e
        WHERE (SELECT count(*) FROM zart.runs r WHERE r.execution_key = e.execution_key) <>
              (SELECT count(*) FROM zart_operations o WHERE o.execution_id = e.execution_id
               AND o.kind IN ('start', 'restart', 'rerun'))""",
}
# Once the moving of queued tasks has settled.
SETTLED_INVARIANTS = {
    "what is held is held by an active rule": """
        SELECT h.run_key, h.step_no FROM zart.held h JOIN zart.pause_rules p USING (rule_key)
        WHERE p.deleted_at IS NOT NULL""",
}


async def broken(db: asyncpg.Connection[Any], *, settled: bool = False) -> dict[str, list[Any]]:
    """Give the invariants that are broken, with the rows that break them."""
    found = {}
    for name, query in {**INVARIANTS, **(SETTLED_INVARIANTS if settled else {})}.items():
        rows = await db.fetch(query)
        if rows:
            found[name] = [tuple(row) for row in rows[:5]]
    return found
