-- store/retention/records.py: record_removed (key)
-- Record what was removed of a task (empty: operations).
-- Locks: nothing.
-- Parameters: task_name=$1, caller=$2.
INSERT INTO zart.purge_records AS p (day, task_name, caller)
VALUES ((statement_timestamp() AT TIME ZONE 'UTC')::date, $1, $2)
ON CONFLICT (day, task_name, caller) DO UPDATE SET operation_key = p.operation_key
RETURNING operation_key;

-- store/retention/records.py: record_removed (add)
-- Record what was removed of a task (empty: operations).
-- Locks: operations, the one that tells it.
-- Parameters: executions=$1, runs=$2, operations=$3, ended_before=$4, operation_key=$5.
UPDATE zart.operations SET made = json_build_object(
        'removed_executions', $1::bigint + COALESCE((made->>'removed_executions')::bigint, 0),
        'removed_runs', $2::bigint + COALESCE((made->>'removed_runs')::bigint, 0),
        'removed_operations', $3::bigint + COALESCE((made->>'removed_operations')::bigint, 0),
        'ended_before', GREATEST((made->>'ended_before')::timestamptz, $4::timestamptz))
WHERE operation_key = $5;

-- store/retention/records.py: record_removed (record)
-- Record what was removed of a task (empty: operations).
-- Locks: nothing.
-- Parameters: operation_key=$1, kind=$2, task_name=$3, triggered_by=$4, principal=$5, reason=$6,
--   request_id=$7, incident=$8, executions=$9, runs=$10, operations=$11, ended_before=$12.
INSERT INTO zart.operations (operation_key, kind, task_name, triggered_by, principal, reason,
        request_id, incident, made) OVERRIDING SYSTEM VALUE
VALUES ($1, $2, $3, $4, $5, $6, $7,
        $8, json_build_object(
                'removed_executions', $9::bigint + 0,
                'removed_runs', $10::bigint + 0,
                'removed_operations', $11::bigint + 0,
                'ended_before', $12::timestamptz));

-- store/retention/records.py: forget_records
-- Forget which operations told what was removed on days that are over; wait for nobody.
-- Locks: purge_records.
DELETE
FROM zart.purge_records
WHERE ctid = ANY(ARRAY(SELECT ctid FROM zart.purge_records WHERE day < (statement_timestamp() AT TIME ZONE 'UTC')::date - 1 FOR UPDATE SKIP LOCKED));
