-- store/executions.py: insert_executions
-- Insert executions with their run 0 and their operation; taken ids are left out.
-- Locks: keys of executions, waiting.
-- Parameters: task_names=$1, definition_keys=$2, versions=$3, triggered_by=$4, principals=$5,
--   reasons=$6, request_ids=$7, incidents=$8, execution_ids=$9, kinds=$10, payloads=$11,
--   traceparents=$12.
WITH new AS MATERIALIZED (
    SELECT execution_id, payload, traceparent, n, ($1::text[])[kind] AS task_name,
        ($2::bigint[])[kind] AS definition_key,
        ($3::integer[])[kind] AS version,
        ($4::text[])[kind] AS triggered_by,
        ($5::text[])[kind] AS principal,
        ($6::text[])[kind] AS reason, ($7::text[])[kind] AS request_id,
        ($8::text[])[kind] AS incident,
        false AS is_leased,
        nextval('zart.executions_execution_key_seq') AS execution_key,
        nextval('zart.runs_run_key_seq') AS run_key
    FROM unnest($9::text[], $10::text::integer[], $11::text[],
            $12::text[])
    WITH ORDINALITY u(execution_id, kind, payload, traceparent, n)
), e AS (
    INSERT INTO zart.executions (execution_key, execution_id, task_name)
    OVERRIDING SYSTEM VALUE
    SELECT execution_key, execution_id, task_name FROM new ORDER BY n
    ON CONFLICT (execution_id) DO NOTHING
    RETURNING execution_key
), started AS MATERIALIZED (
    -- IS TRUE keeps this from becoming a join: it is looked up in a hash table.
    SELECT * FROM new WHERE (execution_key IN (SELECT execution_key FROM e)) IS TRUE
), r AS (
    INSERT INTO zart.runs (run_key, execution_key, listed_task, run_number, definition_key,
            "trigger", triggered_by, principal, reason, payload, status,
            started_at, traceparent)
    OVERRIDING SYSTEM VALUE
    SELECT run_key, execution_key, task_name, 0, definition_key, 'initial', triggered_by,
        principal, reason, payload::json,
        CASE WHEN is_leased THEN 'running' ELSE 'scheduled' END,
        CASE WHEN is_leased THEN statement_timestamp() END, traceparent
    FROM started
), o AS (
    INSERT INTO zart.operations (kind, execution_id, run_number, task_name, triggered_by,
            principal, reason, request_id, incident, made)
    SELECT 'start', execution_id, 0, task_name, triggered_by, principal, reason, request_id,
        incident, json_build_object('run_id', execution_id || ':run:0',
                'definition_version', version)
    FROM started
)
SELECT execution_id, execution_key, run_key, statement_timestamp() FROM started;
