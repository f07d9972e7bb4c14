-- store/batches/selecting.py: find_by_ids
-- Return the runs of executions that were current then, and which ids no execution had.
-- Locks: nothing.
-- Parameters: execution_ids=$1, as_of=$2.
SELECT w.execution_id, r.run_key, e.created_at
FROM unnest($1::text[]) WITH ORDINALITY w(execution_id, n)
LEFT JOIN LATERAL (
    SELECT execution_key, created_at FROM zart.executions
    WHERE executions.execution_id = w.execution_id OFFSET 0) e ON true
LEFT JOIN LATERAL (
    SELECT run_key FROM zart.runs WHERE runs.execution_key = e.execution_key
        AND created_at <= $2::timestamptz
    ORDER BY run_number DESC LIMIT 1) r ON true
ORDER BY w.n;

-- store/batches/selecting.py: insert_items (insert steps)
-- Write down a piece as items, after the ``last_item``.
-- Locks: batches, which the caller has locked.
-- Parameters: run_keys=$1, step_nos=$2, as_of=$3, are_named=$4, batch_key=$5, last_item=$6,
--   refused_items=$7, until=$8, is_last=$9.
WITH selected AS MATERIALIZED (
    SELECT u.n, e.execution_id, r.execution_key, r.run_key, r.run_number, r.definition_key,
        r.status AS run_status, step_no, step_name, s.attempt
    FROM unnest($1::bigint[], $2::integer[])
    WITH ORDINALITY u(run_key, only_step, n)
    CROSS JOIN LATERAL (
        SELECT execution_key, run_key, run_number, definition_key, status, is_current,
            created_at
        FROM zart.runs WHERE runs.run_key = u.run_key OFFSET 0) r
    CROSS JOIN LATERAL (
        SELECT execution_id FROM zart.executions
        WHERE executions.execution_key = r.execution_key OFFSET 0) e
    CROSS JOIN LATERAL (
        SELECT step_no, status, completed_at, CASE WHEN status <> 'open' THEN attempt ELSE COALESCE(
            (SELECT t.attempt - (t.lease_token IS NULL)::integer FROM zart.tasks t
                WHERE t.run_key = steps.run_key AND t.step_no = steps.step_no OFFSET 0),
            (SELECT h.attempt - 1 FROM zart.held h
                WHERE h.run_key = steps.run_key AND h.step_no = steps.step_no OFFSET 0),
                attempt) END AS attempt
        FROM zart.steps
        WHERE steps.run_key = r.run_key AND step_no
            BETWEEN COALESCE(u.only_step, 0) AND COALESCE(u.only_step, 2147483647)
        ORDER BY step_no) s
    CROSS JOIN LATERAL (
        SELECT step_names[s.step_no + 1] AS step_name FROM zart.definitions
        WHERE definition_key = r.definition_key OFFSET 0) d
    WHERE (u.only_step IS NOT NULL
            OR (s.status = 'dead' AND s.completed_at <= $3::timestamptz))
        AND (r.is_current OR $4::boolean) AND r.created_at <= $3::timestamptz
), items AS (
    INSERT INTO zart.batch_items (batch_key, item_no, execution_id, execution_key, run_key,
            run_number, step_no, step_name, attempt)
    SELECT $5::bigint,
        $6::integer + row_number() OVER (ORDER BY n, step_no), execution_id,
        execution_key, run_key, run_number, step_no, step_name, attempt
    FROM selected
    ON CONFLICT (batch_key, execution_key, step_no) DO NOTHING
    RETURNING 1
), refused_items AS (
    INSERT INTO zart.batch_items (batch_key, item_no, execution_id, run_key, run_number,
            status, refusal, done_at)
    SELECT $5, $6 + (SELECT count(*) FROM selected) + row_number() OVER (),
        execution_id, run_key, run_number, 'refused', refusal, statement_timestamp()
    FROM json_to_recordset($7::text::json)
        u(execution_id text, run_key bigint, run_number integer, refusal json)
    RETURNING run_key
), prepared AS (
    UPDATE zart.batches SET selected = selected + (SELECT count(*) FROM items)
        + (SELECT count(*) FROM refused_items),
        refused = refused + (SELECT count(*) FROM refused_items),
        failures_before = failures_before + CASE WHEN failures_before >= 0
        THEN (SELECT count(run_key) FROM refused_items) ELSE 0 END,
        last_item = last_item + (SELECT count(*) FROM selected)
        + (SELECT count(*) FROM refused_items),
        prepared_until = $8::text::json, is_prepared = $9::boolean
    WHERE batch_key = $5
    RETURNING selected, last_item
)
SELECT selected, last_item FROM prepared;

-- store/batches/selecting.py: insert_items (insert executions)
-- Write down a piece as items, after the ``last_item``.
-- Locks: batches, which the caller has locked.
-- Parameters: run_keys=$1, step_nos=$2, are_named=$3, as_of=$4, batch_key=$5, last_item=$6,
--   refused_items=$7, until=$8, is_last=$9.
WITH selected AS MATERIALIZED (
    SELECT u.n, e.execution_id, r.execution_key, r.run_key, r.run_number, r.definition_key,
        r.status AS run_status, step_no, step_name, s.attempt
    FROM unnest($1::bigint[], $2::integer[])
    WITH ORDINALITY u(run_key, only_step, n)
    CROSS JOIN LATERAL (
        SELECT execution_key, run_key, run_number, definition_key, status, is_current,
            created_at
        FROM zart.runs WHERE runs.run_key = u.run_key OFFSET 0) r
    CROSS JOIN LATERAL (
        SELECT execution_id FROM zart.executions
        WHERE executions.execution_key = r.execution_key OFFSET 0) e
    CROSS JOIN (SELECT -1 AS step_no, NULL::integer AS attempt, '' AS step_name) s
    WHERE true
        AND (r.is_current OR $3::boolean) AND r.created_at <= $4::timestamptz
), items AS (
    INSERT INTO zart.batch_items (batch_key, item_no, execution_id, execution_key, run_key,
            run_number, step_no, step_name, attempt)
    SELECT $5::bigint,
        $6::integer + row_number() OVER (ORDER BY n, step_no), execution_id,
        execution_key, run_key, run_number, step_no, step_name, attempt
    FROM selected
    ON CONFLICT (batch_key, execution_key, step_no) DO NOTHING
    RETURNING 1
), refused_items AS (
    INSERT INTO zart.batch_items (batch_key, item_no, execution_id, run_key, run_number,
            status, refusal, done_at)
    SELECT $5, $6 + (SELECT count(*) FROM selected) + row_number() OVER (),
        execution_id, run_key, run_number, 'refused', refusal, statement_timestamp()
    FROM json_to_recordset($7::text::json)
        u(execution_id text, run_key bigint, run_number integer, refusal json)
    RETURNING run_key
), prepared AS (
    UPDATE zart.batches SET selected = selected + (SELECT count(*) FROM items)
        + (SELECT count(*) FROM refused_items),
        refused = refused + (SELECT count(*) FROM refused_items),
        failures_before = failures_before + CASE WHEN failures_before >= 0
        THEN (SELECT count(run_key) FROM refused_items) ELSE 0 END,
        last_item = last_item + (SELECT count(*) FROM selected)
        + (SELECT count(*) FROM refused_items),
        prepared_until = $8::text::json, is_prepared = $9::boolean
    WHERE batch_key = $5
    RETURNING selected, last_item
)
SELECT selected, last_item FROM prepared;
