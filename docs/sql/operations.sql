-- store/operations.py: record_operations
-- Record what mutations did; they are on record if and only if the mutations commit.
-- Locks: nothing.
INSERT INTO zart.operations (kind, execution_id, run_number, step_name, rule_id, task_name,
        triggered_by, principal, reason, request_id, replaced, made)
SELECT $1::text, execution_id, run_number, step_name, rule_id, task_name,
    triggered_by, principal, reason, request_id, replaced, made
FROM json_to_recordset($2::text::json) u(execution_id text, run_number integer, step_name text, rule_id text, task_name text,
        triggered_by text, principal text, reason text, request_id text, replaced json, made json);

-- store/operations.py: record_deleted_rules
-- Record that rules were deleted, one operation for each.
-- Locks: nothing.
INSERT INTO zart.operations (kind, execution_id, rule_id, task_name, triggered_by, principal, reason, request_id) SELECT $1, e, r, t, $5, $6, $7, $8
FROM unnest($2::text[], $3::text[], $4::text[]) u(e, r, t);
