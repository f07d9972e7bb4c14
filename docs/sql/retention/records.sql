-- store/retention/records.py: record_removed (key)
-- Record what was removed of a task (empty: operations).
-- Locks: nothing.
-- Parameters: task_name=$1, caller=$2.
INSERT INTO zart.purge_records AS p (day, task_name, caller)
VALUES ((statement_timestamp() AT TIME ZONE 'UTC')::date, $1, $2)
ON CONFLICT (day, task_name, caller) DO UPDATE SET operation_key = p.operation_key
RETURNING day, operation_key;

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
-- Locks: purge_records, which the caller has locked.
-- Parameters: day=$1, task_name=$2, caller=$3, kind=$4, triggered_by=$5, principal=$6, reason=$7,
--   request_id=$8, incident=$9, executions=$10, runs=$11, operations=$12, ended_before=$13.
WITH anew AS (
    UPDATE zart.purge_records SET operation_key = nextval('zart.operations_operation_key_seq')
    WHERE day = $1::date AND task_name = $2 AND caller = $3
    RETURNING operation_key
)
INSERT INTO zart.operations (operation_key, kind, task_name, triggered_by, principal, reason,
        request_id, incident, made) OVERRIDING SYSTEM VALUE
SELECT operation_key, $4, $2, $5, $6, $7, $8,
    $9, json_build_object(
            'removed_executions', $10::bigint + 0,
            'removed_runs', $11::bigint + 0,
            'removed_operations', $12::bigint + 0,
            'ended_before', $13::timestamptz)
FROM anew;

-- store/retention/records.py: forget_records
-- Forget which operations told what was removed on days that are over; wait for nobody.
-- Locks: purge_records.
DELETE
FROM zart.purge_records
WHERE ctid = ANY(ARRAY(SELECT ctid FROM zart.purge_records WHERE day < (statement_timestamp() AT TIME ZONE 'UTC')::date - 1 FOR UPDATE SKIP LOCKED));
