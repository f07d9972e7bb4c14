-- What operators read with SQL: the API's words, one view per relation of the contract.

-- The oldest active rule that withholds a step, NULL when none does.
CREATE FUNCTION zart.pausing_rule(of_execution text, of_task text, of_step text) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT rule_key FROM zart.pause_rules
    WHERE deleted_at IS NULL
      AND (execution_id IS NULL OR execution_id = of_execution)
      AND (task_name IS NULL OR task_name = of_task)
      AND (step_regex IS NULL OR of_step ~ step_regex)
    ORDER BY rule_key LIMIT 1
$$;

-- Opaque to callers: the run, the step and the attempt that the queued task is for.
CREATE FUNCTION zart.task_id(run_key bigint, step_no integer, attempt integer) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT to_hex(run_key) || '-' || to_hex(step_no) || '-' || to_hex(attempt)
$$;

CREATE VIEW public.zart_executions AS
SELECT e.execution_id, e.task_name, e.execution_id || ':run:' || r.run_number AS current_run_id,
       r.run_number AS current_run_number, r.status, e.created_at
FROM zart.executions e JOIN zart.runs r USING (execution_key)
WHERE r.is_current;

CREATE VIEW public.zart_execution_runs AS
SELECT e.execution_id || ':run:' || r.run_number AS run_id, e.execution_id, r.run_number, r.status,
       r."trigger", r.triggered_by, r.reason, d.version AS definition_version, r.source_run_number,
       r.payload AS payload_json, r.error, r.created_at, r.started_at, r.completed_at
FROM zart.runs r JOIN zart.executions e USING (execution_key)
JOIN zart.definitions d USING (definition_key);

CREATE VIEW public.zart_steps AS
SELECT e.execution_id, r.run_number, e.execution_id || ':run:' || r.run_number AS run_id,
       s.step_no, d.step_names[s.step_no + 1] AS step_name,
       CASE WHEN s.status <> 'ready' THEN s.status
            WHEN q.lease_token IS NOT NULL THEN 'running'
            WHEN p.rule_key IS NOT NULL THEN 'paused'
            ELSE 'scheduled' END AS status,
       COALESCE(CASE WHEN q.lease_token IS NULL THEN q.attempt - 1 ELSE q.attempt END,
                h.attempt - 1, o.attempt) AS attempt,
       COALESCE(q.max_attempts, h.max_attempts, o.max_attempts, d.max_attempts[s.step_no + 1])
           AS max_attempts,
       o.result AS result_json, o.error AS last_error, o.retryable,
       CASE WHEN q.run_key IS NOT NULL AND p.rule_key IS NULL
            THEN zart.task_id(q.run_key, q.step_no, q.attempt) END AS task_id,
       COALESCE(q.not_before, h.not_before) AS not_before,
       q.dispatcher_id AS lease_owner, q.lease_expires_at, q.lease_token,
       p.rule_id AS paused_by, src.run_number AS preserved_from_run_number,
       COALESCE(q.scheduled_at, h.scheduled_at, o.scheduled_at) AS scheduled_at,
       COALESCE(q.started_at, o.started_at) AS started_at, o.completed_at
FROM zart.steps s
JOIN zart.runs r USING (run_key)
JOIN zart.executions e USING (execution_key)
JOIN zart.definitions d USING (definition_key)
LEFT JOIN zart.steps o ON o.run_key = COALESCE(s.source_run_key, s.run_key) AND o.step_no = s.step_no
LEFT JOIN zart.runs src ON src.run_key = s.source_run_key
LEFT JOIN zart.queue q ON q.run_key = s.run_key AND q.step_no = s.step_no
LEFT JOIN zart.held h ON h.run_key = s.run_key AND h.step_no = s.step_no
LEFT JOIN zart.pause_rules p ON s.status = 'ready' AND q.lease_token IS NULL AND p.rule_key =
    zart.pausing_rule(e.execution_id, e.task_name, d.step_names[s.step_no + 1]);

CREATE VIEW public.zart_step_attempts AS
SELECT e.execution_id, r.run_number, e.execution_id || ':run:' || r.run_number AS run_id,
       d.step_names[a.step_no + 1] AS step_name, a.attempt, a.status, a.dispatcher_id,
       a.lease_token, a.error, a.started_at, a.completed_at
FROM (SELECT run_key, step_no, attempt, status, dispatcher_id, lease_token, error, started_at,
             completed_at FROM zart.attempts
      UNION ALL
      SELECT run_key, step_no, attempt, 'running', dispatcher_id, lease_token, NULL, started_at,
             NULL FROM zart.queue WHERE lease_token IS NOT NULL) a
JOIN zart.runs r USING (run_key)
JOIN zart.executions e USING (execution_key)
JOIN zart.definitions d USING (definition_key);

CREATE VIEW public.zart_tasks AS
SELECT zart.task_id(q.run_key, q.step_no, q.attempt) AS task_id, e.execution_id, r.run_number,
       e.execution_id || ':run:' || r.run_number AS run_id, e.task_name, q.step_name, l.handler,
       CASE WHEN q.lease_token IS NULL THEN 'scheduled' ELSE 'running' END AS status,
       q.attempt, q.max_attempts, q.not_before, q.scheduled_at, q.lease_token,
       q.dispatcher_id AS lease_owner, q.started_at, q.lease_expires_at
FROM zart.queue q JOIN zart.runs r USING (run_key) JOIN zart.executions e USING (execution_key)
JOIN zart.lanes l USING (lane);

CREATE VIEW public.zart_pause_rules AS
SELECT rule_id, execution_id, task_name, step_pattern, everything, reason,
       CASE WHEN deleted_at IS NULL THEN 'active' WHEN expired THEN 'expired' ELSE 'resumed' END
           AS status,
       created_at, created_by, expires_at, deleted_at, deleted_by
FROM zart.pause_rules;

CREATE VIEW public.zart_task_definitions AS
SELECT d.task_name, d.version, d.steps, n.definition_key IS NOT NULL AS is_current,
       n.last_asked_at, d.created_at
FROM zart.definitions d LEFT JOIN zart.task_names n USING (definition_key)
WHERE d.version > 0;

CREATE VIEW public.zart_operations AS
SELECT operation_key AS operation_id, kind, execution_id, run_number, step_name, rule_id,
       task_name, triggered_by, reason, request_id, created_at, replaced, made
FROM zart.operations;

CREATE VIEW public.zart_requests AS
SELECT caller, rpc, request_id, is_complete, created_at FROM zart.requests;
