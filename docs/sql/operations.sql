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

-- store/operations.py: record_deleted_rules
-- Record that rules were deleted, one operation for each.
-- Locks: nothing.
-- Parameters: kind=$1, triggered_by=$2, principal=$3, reason=$4, request_id=$5, incident=$6,
--   execution_ids=$7, rule_ids=$8, task_names=$9.
INSERT INTO zart.operations (kind, execution_id, rule_id, task_name, triggered_by, principal,
        reason, request_id, incident)
SELECT $1, e, r, t, $2, $3, $4, $5, $6
FROM unnest($7::text[], $8::text[], $9::text[]) u(e, r, t);
