-- Steps ended by hand (docs/operating.md): an operator's outcome is one like any other.

-- A step of the run was ended by an operator, so that steps may have ended before what they depend
-- on: it goes by the rows of its steps, as a rerun does. Read with the run's lock, never from a cache.
ALTER TABLE zart.runs ADD COLUMN by_hand boolean NOT NULL DEFAULT false;

-- Of a step that an operator completed, and why; its dispatcher_id is 'operator', its lease_token
-- NULL. Neither is ever set on a step that has not been completed.
ALTER TABLE zart.steps
    ADD COLUMN resolution text,              -- 'completed_by_operator', 'skipped_by_operator'; NULL: executed
    ADD COLUMN reason text;

-- An operator's attempt has no token, and a reason.
ALTER TABLE zart.attempts
    ALTER COLUMN lease_token DROP NOT NULL,
    ADD COLUMN reason text;

CREATE OR REPLACE VIEW zart.all_attempts AS
SELECT run_key, step_no, attempt, status, swept, dispatcher_id, principal, lease_token, error,
       started_at, completed_at, reason
FROM zart.attempts
UNION ALL
SELECT run_key, step_no, attempt, status, false, dispatcher_id, principal, lease_token, NULL,
       started_at, completed_at, reason
FROM zart.steps WHERE status = 'completed' AND source_run_key IS NULL
UNION ALL
SELECT run_key, step_no, attempt, 'running', false, dispatcher_id, principal, lease_token, NULL,
       started_at, NULL, NULL
FROM zart.leases;

CREATE OR REPLACE VIEW public.zart_step_attempts AS
SELECT e.execution_id, r.run_number, e.execution_id || ':run:' || r.run_number AS run_id,
       d.step_names[a.step_no + 1] AS step_name, a.attempt, a.status, a.dispatcher_id,
       a.lease_token, a.error, a.started_at, a.completed_at, a.principal, a.reason
FROM zart.all_attempts a
JOIN zart.runs r USING (run_key)
JOIN zart.executions e USING (execution_key)
JOIN zart.definitions d USING (definition_key);

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
       o.result AS result_json, o.error AS last_error, o.retryable,
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
