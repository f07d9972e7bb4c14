-- Who it was, as the server verified it, beside what the caller claims (triggered_by). Empty where
-- callers are not authenticated. A constant default rewrites no table.

ALTER TABLE zart.runs ADD COLUMN principal text NOT NULL DEFAULT '';
ALTER TABLE zart.attempts ADD COLUMN principal text NOT NULL DEFAULT '';
ALTER TABLE zart.operations ADD COLUMN principal text NOT NULL DEFAULT '';
ALTER TABLE zart.pause_rules
    ADD COLUMN principal text NOT NULL DEFAULT '',
    ADD COLUMN deleted_by_principal text NOT NULL DEFAULT '';
-- Of a leased row: whose lease it is. Reports and extensions compare it with the token, so byte by
-- byte.
ALTER TABLE zart.queue ADD COLUMN principal text COLLATE "C" NOT NULL DEFAULT '';

CREATE OR REPLACE VIEW public.zart_execution_runs AS
SELECT e.execution_id || ':run:' || r.run_number AS run_id, e.execution_id, r.run_number, r.status,
       r."trigger", r.triggered_by, r.reason, d.version AS definition_version, r.source_run_number,
       r.payload AS payload_json, r.error, r.created_at, r.started_at, r.completed_at, r.principal
FROM zart.runs r JOIN zart.executions e USING (execution_key)
JOIN zart.definitions d USING (definition_key);

CREATE OR REPLACE VIEW public.zart_step_attempts AS
SELECT e.execution_id, r.run_number, e.execution_id || ':run:' || r.run_number AS run_id,
       d.step_names[a.step_no + 1] AS step_name, a.attempt, a.status, a.dispatcher_id,
       a.lease_token, a.error, a.started_at, a.completed_at, a.principal
FROM (SELECT run_key, step_no, attempt, status, dispatcher_id, lease_token, error, started_at,
             completed_at, principal FROM zart.attempts
      UNION ALL
      SELECT run_key, step_no, attempt, 'running', dispatcher_id, lease_token, NULL, started_at,
             NULL, principal FROM zart.queue WHERE lease_token IS NOT NULL) a
JOIN zart.runs r USING (run_key)
JOIN zart.executions e USING (execution_key)
JOIN zart.definitions d USING (definition_key);

CREATE OR REPLACE VIEW public.zart_tasks AS
SELECT zart.task_id(q.run_key, q.step_no, q.attempt) AS task_id, e.execution_id, r.run_number,
       e.execution_id || ':run:' || r.run_number AS run_id, e.task_name, q.step_name, l.handler,
       CASE WHEN q.lease_token IS NULL THEN 'scheduled' ELSE 'running' END AS status,
       q.attempt, q.max_attempts, q.not_before, q.scheduled_at, q.lease_token,
       q.dispatcher_id AS lease_owner, q.started_at, q.lease_expires_at, q.principal
FROM zart.queue q JOIN zart.runs r USING (run_key) JOIN zart.executions e USING (execution_key)
JOIN zart.lanes l USING (lane);

CREATE OR REPLACE VIEW public.zart_pause_rules AS
SELECT rule_id, execution_id, task_name, step_pattern, everything, reason,
       CASE WHEN deleted_at IS NULL THEN 'active' WHEN expired THEN 'expired' ELSE 'resumed' END
           AS status,
       created_at, created_by, expires_at, deleted_at, deleted_by, principal, deleted_by_principal
FROM zart.pause_rules;

CREATE OR REPLACE VIEW public.zart_operations AS
SELECT operation_key AS operation_id, kind, execution_id, run_number, step_name, rule_id,
       task_name, triggered_by, reason, request_id, created_at, replaced, made, principal
FROM zart.operations;
