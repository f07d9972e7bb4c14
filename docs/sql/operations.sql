-- store/operations.py: record_operations
-- Record what mutations did; they are on record if and only if the mutations commit.
-- Locks: nothing.
-- Parameters: kind=$1, records=$2.
INSERT INTO zart.operations (kind, execution_id, run_number, step_name, rule_id, task_name,
        triggered_by, principal, reason, request_id, incident, batch_id, replaced, made)
SELECT $1::text, execution_id, run_number, step_name, rule_id, task_name,
    triggered_by, principal, reason, request_id, incident, COALESCE(batch_id, ''),
    replaced, made
FROM json_to_recordset($2::text::json) u(execution_id text, run_number integer, step_name text, rule_id text, task_name text,
        triggered_by text, principal text, reason text, request_id text, incident text,
        batch_id text, replaced json, made json);
