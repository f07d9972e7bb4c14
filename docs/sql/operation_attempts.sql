-- store/operation_attempts.py: record_attempts
-- Record attempts.
-- Locks: nothing.
-- Parameters: attempts=$1.
INSERT INTO zart.operation_attempts (status, kind, execution_id, run_number, step_name, rule_id, task_name, batch_id,
        breaker_id, incident, triggered_by, principal, reason, request_id, refusal)
SELECT status, kind, execution_id, run_number, step_name, rule_id, task_name, batch_id,
    breaker_id, COALESCE(NULLIF(u.incident, ''),
            NULLIF((SELECT r.incident FROM zart.pause_rules r WHERE r.rule_id = u.rule_id), ''),
        (SELECT b.incident FROM zart.batches b WHERE b.batch_id = u.batch_id), ''), triggered_by, principal, reason, request_id, refusal
FROM json_to_recordset($1::text::json) u(status text, kind text,
        execution_id text, run_number integer, step_name text, rule_id text, task_name text,
        batch_id text, breaker_id text, incident text, triggered_by text, principal text,
        reason text, request_id text, refusal json);
