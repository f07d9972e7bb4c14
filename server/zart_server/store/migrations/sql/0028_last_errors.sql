-- The view of steps tells the last error of each step that is not completed, as the API does: a step
-- has one of its own only once it is dead, and until then that of its last attempt which has one.
CREATE OR REPLACE VIEW public.zart_steps AS
SELECT e.execution_id, r.run_number, e.execution_id || ':run:' || r.run_number AS run_id,
       s.step_no, d.step_names[s.step_no + 1] AS step_name,
       CASE WHEN s.status <> 'open' THEN s.status
            WHEN t.lease_token IS NOT NULL THEN 'running'
            WHEN p.rule_key IS NOT NULL THEN 'paused'
            WHEN t.run_key IS NOT NULL OR h.run_key IS NOT NULL THEN 'scheduled'
            ELSE 'pending' END AS status,
       COALESCE(CASE WHEN t.lease_token IS NULL THEN t.attempt - 1 ELSE t.attempt END,
                h.attempt - 1, o.attempt) AS attempt,
       COALESCE(t.max_attempts, h.max_attempts, o.max_attempts, d.max_attempts[s.step_no + 1])
           AS max_attempts,
       o.result AS result_json,
       COALESCE(o.error, CASE WHEN o.status <> 'completed' THEN (
           SELECT a.error FROM zart.attempts a
           WHERE a.run_key = o.run_key AND a.step_no = o.step_no AND a.error IS NOT NULL
           ORDER BY a.attempt DESC LIMIT 1) END) AS last_error,
       o.retryable,
       CASE WHEN t.run_key IS NOT NULL AND p.rule_key IS NULL
            THEN zart.task_id(t.run_key, t.step_no, t.attempt) END AS task_id,
       COALESCE(t.not_before, h.not_before) AS not_before,
       t.dispatcher_id AS lease_owner, t.lease_expires_at, t.lease_token,
       p.rule_id AS paused_by, src.run_number AS preserved_from_run_number,
       COALESCE(t.scheduled_at, h.scheduled_at, o.scheduled_at) AS scheduled_at,
       COALESCE(t.started_at, o.started_at) AS started_at, o.completed_at,
       CASE WHEN o.status = 'completed' THEN COALESCE(o.resolution, 'executed') END AS resolution
FROM zart.steps s
JOIN zart.runs r USING (run_key)
JOIN zart.executions e USING (execution_key)
JOIN zart.definitions d USING (definition_key)
LEFT JOIN zart.steps o ON o.run_key = COALESCE(s.source_run_key, s.run_key) AND o.step_no = s.step_no
LEFT JOIN zart.runs src ON src.run_key = s.source_run_key
LEFT JOIN zart.tasks t ON t.run_key = s.run_key AND t.step_no = s.step_no
LEFT JOIN zart.held h ON h.run_key = s.run_key AND h.step_no = s.step_no
LEFT JOIN zart.pause_rules p ON t.lease_token IS NULL
    AND (t.run_key IS NOT NULL OR h.run_key IS NOT NULL) AND p.rule_key =
    zart.pausing_rule(e.execution_id, e.task_name, d.step_names[s.step_no + 1], s.run_key, s.step_no,
        COALESCE(t.attempt, h.attempt));
-- Executions are listed by what their runs say. It is last, as everybody waits for this table: nobody
-- who asks for the view keeps its lock.
DROP INDEX zart.executions_by_time;
