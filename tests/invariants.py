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
    "a run is listed by its execution's task and time": """
        SELECT run_key FROM zart.runs JOIN zart.executions e USING (execution_key)
        WHERE (listed_task, listed_at) IS DISTINCT FROM (e.task_name, e.created_at)""",
    "run numbers have no gap": """
        SELECT execution_key FROM zart.runs GROUP BY execution_key
        HAVING min(run_number) <> 0 OR max(run_number) <> count(*) - 1""",
    "one current run": """
        SELECT execution_key FROM zart.runs GROUP BY execution_key
        HAVING count(*) FILTER (WHERE is_current) <> 1
            OR max(run_number) FILTER (WHERE is_current) <> max(run_number)""",
    "an open step is queued, held or leased at most once; no other step is": """
        SELECT run_key, step_no FROM (
            SELECT run_key, step_no FROM zart.queue UNION ALL SELECT run_key, step_no FROM zart.held
            UNION ALL SELECT run_key, step_no FROM zart.leases) t
        LEFT JOIN zart.steps s USING (run_key, step_no)
        GROUP BY run_key, step_no, s.status
        HAVING count(*) > 1 OR s.status IS DISTINCT FROM 'open'""",
    "a task is for the last correction of its step's input": """
        SELECT run_key, step_no FROM (
            SELECT run_key, step_no, correction FROM zart.queue
            UNION ALL SELECT run_key, step_no, correction FROM zart.held
            UNION ALL SELECT run_key, step_no, correction FROM zart.leases) t
        JOIN zart.steps s USING (run_key, step_no)
        WHERE t.correction <> COALESCE(s.correction, 0)""",
    "each correction of an input is kept, and none else": """
        SELECT COALESCE(s.run_key, i.run_key), COALESCE(s.step_no, i.step_no)
        FROM (SELECT * FROM zart.steps WHERE correction IS NOT NULL AND source_run_key IS NULL) s
        FULL JOIN (SELECT run_key, step_no, max(correction) AS last, count(*) AS n
                   FROM zart.step_inputs GROUP BY run_key, step_no) i USING (run_key, step_no)
        WHERE s.correction IS DISTINCT FROM i.last OR i.n <> i.last""",
    "an open step whose dependencies are completed can move": """
        SELECT run_key, p.step_no FROM zart.runs r JOIN zart.definitions d USING (definition_key)
        JOIN zart.steps p USING (run_key)
        WHERE r.status IN ('scheduled', 'running') AND p.status = 'open'
          AND (run_key, p.step_no) NOT IN (
            SELECT run_key, step_no FROM zart.queue UNION ALL SELECT run_key, step_no FROM zart.held
            UNION ALL SELECT run_key, step_no FROM zart.leases)
          AND NOT EXISTS (
            SELECT FROM json_array_elements_text(d.steps->p.step_no->'depends_on') dep
            JOIN zart.steps s ON s.run_key = r.run_key
                AND d.step_names[s.step_no + 1] = dep AND s.status <> 'completed')""",
    "nothing can move in a finished run": """
        SELECT t.run_key FROM (
            SELECT run_key FROM zart.queue UNION ALL SELECT run_key FROM zart.held
            UNION ALL SELECT run_key FROM zart.leases) t
        JOIN zart.runs r USING (run_key) WHERE r.status NOT IN ('scheduled', 'running')""",
    "a completed run has only completed steps": """
        SELECT r.run_key FROM zart.runs r JOIN zart.steps s USING (run_key)
        WHERE r.status = 'completed' AND s.status <> 'completed'""",
    "an unfinished run has a step that can move": """
        SELECT r.run_key FROM zart.runs r WHERE r.status IN ('scheduled', 'running')
        AND NOT EXISTS (SELECT FROM zart.queue t WHERE t.run_key = r.run_key)
        AND NOT EXISTS (SELECT FROM zart.held t WHERE t.run_key = r.run_key)
        AND NOT EXISTS (SELECT FROM zart.leases t WHERE t.run_key = r.run_key)""",
    "a failed run has a dead step": """
        SELECT r.run_key FROM zart.runs r WHERE r.status = 'failed'
        AND NOT EXISTS (SELECT FROM zart.steps s WHERE s.run_key = r.run_key
                        AND s.status = 'dead')""",
    "dead steps are counted": """
        SELECT r.run_key FROM zart.runs r WHERE r.dead_steps <> (
            SELECT count(*) FROM zart.steps s WHERE s.run_key = r.run_key AND s.status = 'dead')""",
    "dead steps of current runs are listed": """
        SELECT run_key, step_no FROM (
            SELECT s.run_key, s.step_no, r.execution_key, r.listed_at, s.completed_at
            FROM zart.steps s JOIN zart.runs r USING (run_key)
            WHERE s.status = 'dead' AND r.is_current) s
        FULL JOIN zart.dead_steps d USING (run_key, step_no)
        WHERE (d.execution_key, d.listed_at, d.died_at)
            IS DISTINCT FROM (s.execution_key, s.listed_at, s.completed_at)""",
    "dead steps of current runs are counted as listed": """
        SELECT run_key FROM zart.runs WHERE is_current AND dead_listed <> dead_steps""",
    "the kind of a dead step's error is there": """
        SELECT run_key, step_no, group_key FROM zart.dead_steps LEFT JOIN zart.error_groups e
        USING (group_key) WHERE group_key IS NOT NULL AND e.type IS NULL""",
    "a completed step is its completed attempt": """
        SELECT run_key, step_no FROM zart.steps
        WHERE status = 'completed' AND source_run_key IS NULL AND (
            (lease_token IS NULL) <> (resolution IS NOT NULL)
            OR dispatcher_id IS NULL OR attempt < 1 OR started_at IS NULL)""",
    "only a completed step has an operator's result": """
        SELECT run_key, step_no FROM zart.steps WHERE status <> 'completed'
            AND (resolution IS NOT NULL OR reason IS NOT NULL)""",
    "a run of which a step was ended by hand is marked": """
        SELECT run_key FROM zart.runs r WHERE NOT by_hand AND (
            EXISTS (SELECT FROM zart.steps s WHERE s.run_key = r.run_key
                    AND resolution IS NOT NULL)
            OR EXISTS (SELECT FROM zart.attempts a WHERE a.run_key = r.run_key
                       AND lease_token IS NULL))""",
    "an attempt in doubt ended so": """
        SELECT d.run_key, d.step_no, d.attempt FROM zart.in_doubt d
        LEFT JOIN zart.attempts a USING (run_key, step_no, attempt)
        WHERE (a.status, a.lease_token) IS DISTINCT FROM (d.ended_as, d.lease_token)""",
    "each attempt of a step that stops is in doubt where nobody told how it ended": """
        SELECT a.run_key, a.step_no, a.attempt FROM zart.attempts a
        JOIN zart.runs r USING (run_key) JOIN zart.definitions d USING (definition_key)
        LEFT JOIN zart.in_doubt i USING (run_key, step_no, attempt)
        WHERE i.run_key IS NULL AND d.steps->a.step_no->>'if_in_doubt' = 'stop'
          AND a.status IN ('lost', 'timed_out', 'abandoned')""",
    "a step in doubt has ended": """
        SELECT run_key, step_no FROM zart.in_doubt JOIN zart.steps s USING (run_key, step_no)
        WHERE resolved_at IS NULL AND s.status NOT IN ('dead', 'cancelled')""",
    "a preserved step's source is a completed step of the same execution": """
        SELECT s.run_key, s.step_no FROM zart.steps s JOIN zart.runs r USING (run_key)
        LEFT JOIN zart.steps o ON o.run_key = s.source_run_key AND o.step_no = s.step_no
        LEFT JOIN zart.runs src ON src.run_key = s.source_run_key
        WHERE s.source_run_key IS NOT NULL AND (o.status IS DISTINCT FROM 'completed'
            OR o.source_run_key IS NOT NULL OR src.execution_key <> r.execution_key)""",
    "tokens only grow": """
        SELECT * FROM (SELECT a.run_key, step_no, lease_token, lag(lease_token) OVER (
                PARTITION BY r.execution_key, step_no ORDER BY r.run_number, attempt) AS before
            FROM zart.all_attempts a JOIN zart.runs r USING (run_key)
            WHERE lease_token IS NOT NULL) t  -- an operator's attempt has none
        WHERE lease_token <= before""",
    "attempts are numbered without reuse": """
        SELECT run_key, step_no FROM zart.all_attempts GROUP BY run_key, step_no
        HAVING min(attempt) <> 1 OR max(attempt) <> count(*)""",
    "every change is on record": """
        SELECT e.execution_id FROM zart.executions e
        WHERE (SELECT count(*) FROM zart.runs r WHERE r.execution_key = e.execution_key) <>
              (SELECT count(*) FROM zart_operations o WHERE o.execution_id = e.execution_id
               AND o.kind IN ('start', 'restart', 'rerun'))""",
}
# Once the moving of queued tasks has settled.
SETTLED_INVARIANTS = {
    "what is held is held by an active rule that matches it and does not exempt it": """
        SELECT h.run_key, h.step_no FROM zart.held h JOIN zart.pause_rules p USING (rule_key)
        JOIN zart.runs r USING (run_key) JOIN zart.executions e USING (execution_key)
        LEFT JOIN zart.pause_exemptions x ON x.rule_key = p.rule_key
            AND x.execution_id = e.execution_id AND x.token_until IS NULL
        WHERE p.deleted_at IS NOT NULL OR x.rule_key IS NOT NULL
            OR p.execution_id <> e.execution_id OR p.task_name <> e.task_name
            OR h.step_name !~ p.step_regex""",
    "nothing that a rule withholds is queued": """
        SELECT q.run_key, q.step_no FROM zart.queue q
        JOIN zart.runs r USING (run_key) JOIN zart.executions e USING (execution_key)
        WHERE zart.pausing_rule(e.execution_id, e.task_name, q.step_name, q.run_key, q.step_no,
            q.attempt) IS NOT NULL""",
}


async def broken(db: asyncpg.Connection[Any], *, settled: bool = False) -> dict[str, list[Any]]:
    """Return the invariants that are broken, with the rows that break them."""
    found = {}
    for name, query in {**INVARIANTS, **(SETTLED_INVARIANTS if settled else {})}.items():
        rows = await db.fetch(query)
        if rows:
            found[name] = [tuple(row) for row in rows[:5]]
    return found
