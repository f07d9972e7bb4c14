-- store/reads/waiting.py: execution_waits
-- Say what each run waits for, by run key; runs that are finished or at work are missing.
-- Locks: nothing.
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
        WHEN w.rule_key IS NOT NULL AND (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = w.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = w.rule_key AND x.execution_id = e.execution_id AND x.token_until IS NULL
                    OFFSET 0))
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
WHERE NOT EXISTS (SELECT FROM zart.leases l WHERE l.run_key = r.run_key OFFSET 0);
