-- store/batches/counting.py: count_items (count steps)
-- Count the items that a piece would have, by what becomes of them.
-- Locks: nothing.
-- Parameters: earlier_runs=$1, earlier_steps=$2, run_keys=$3, step_nos=$4, as_of=$5, are_named=$6.
SELECT definition_key, run_status, step_status, is_doubted OR makes_doubts AS is_doubted,
    has_happened,
    count(*)::integer AS items, count(*) FILTER (WHERE nth = 1)::integer AS executions,
    (array_agg(execution_id ORDER BY n))[1:5] AS sample
FROM (
    SELECT i.*, s.step_status, d.is_doubted,
        d.has_happened OR ((i.run_key, i.step_no) IN (
            SELECT * FROM unnest($1::bigint[], $2::integer[]))) IS TRUE AS has_happened,
        false AS makes_doubts,
        row_number() OVER (PARTITION BY execution_key ORDER BY n, step_no) AS nth
    FROM (
        SELECT u.n, e.execution_id, r.execution_key, r.run_key, r.run_number, r.definition_key,
            r.status AS run_status, step_no, step_name, s.attempt
        FROM unnest($3::bigint[], $4::integer[])
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
                OR (s.status = 'dead' AND s.completed_at <= $5::timestamptz))
            AND (r.is_current OR $6::boolean) AND r.created_at <= $5::timestamptz
    ) i CROSS JOIN LATERAL (
        SELECT CASE WHEN s.status <> 'open' THEN s.status
            WHEN (SELECT true FROM zart.leases
                WHERE leases.run_key = i.run_key AND leases.step_no = i.step_no LIMIT 1)
            THEN 'running' END AS step_status
        FROM zart.steps s WHERE s.run_key = i.run_key AND s.step_no = i.step_no OFFSET 0) s
    CROSS JOIN LATERAL (
        SELECT COALESCE(bool_or(resolved_at IS NULL), false) AS is_doubted,
            COALESCE(bool_or(finding = 'happened'), false) AS has_happened
        FROM (
            SELECT resolved_at, finding FROM zart.in_doubt
            WHERE in_doubt.run_key = i.run_key AND in_doubt.step_no = i.step_no
                AND s.step_status IS DISTINCT FROM 'completed' OFFSET 0) a) d) k
GROUP BY definition_key, run_status, step_status, is_doubted OR makes_doubts, has_happened;

-- store/batches/counting.py: count_items (count executions)
-- Count the items that a piece would have, by what becomes of them.
-- Locks: nothing.
-- Parameters: earlier_runs=$1, stop_definitions=$2, stops=$3, run_keys=$4, step_nos=$5,
--   are_named=$6, as_of=$7.
SELECT definition_key, run_status, step_status, is_doubted OR makes_doubts AS is_doubted,
    has_happened,
    count(*)::integer AS items, count(*) FILTER (WHERE nth = 1)::integer AS executions,
    (array_agg(execution_id ORDER BY n))[1:5] AS sample
FROM (
    SELECT i.*, s.step_status, d.is_doubted,
        d.has_happened OR (i.run_key IN (SELECT unnest($1::bigint[]))) IS TRUE AS has_happened,
        COALESCE((
            SELECT bool_or(((i.definition_key, l.step_no) IN (
                SELECT definition_key, step_no
                FROM unnest($2::bigint[], $3::integer[]) s(definition_key, step_no)
            )) IS TRUE)
            FROM (
                SELECT step_no FROM zart.leases
                WHERE leases.run_key = i.run_key AND cardinality($3::integer[]) > 0
                OFFSET 0) l), false) AS makes_doubts,
        row_number() OVER (PARTITION BY execution_key ORDER BY n, step_no) AS nth
    FROM (
        SELECT u.n, e.execution_id, r.execution_key, r.run_key, r.run_number, r.definition_key,
            r.status AS run_status, step_no, step_name, s.attempt
        FROM unnest($4::bigint[], $5::integer[])
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
            AND (r.is_current OR $6::boolean) AND r.created_at <= $7::timestamptz
    ) i CROSS JOIN LATERAL (SELECT NULL::text AS step_status) s
    CROSS JOIN LATERAL (
        SELECT COALESCE(bool_or(resolved_at IS NULL), false) AS is_doubted,
            COALESCE(bool_or(finding = 'happened'), false) AS has_happened
        FROM (
            SELECT d.resolved_at, d.finding
            FROM (
                SELECT step_no, resolved_at, finding FROM zart.in_doubt
                WHERE in_doubt.run_key = i.run_key OFFSET 0) d
            CROSS JOIN LATERAL (
                SELECT status FROM zart.steps
                WHERE steps.run_key = i.run_key AND steps.step_no = d.step_no OFFSET 0) c
            WHERE c.status <> 'completed') a) d) k
GROUP BY definition_key, run_status, step_status, is_doubted OR makes_doubts, has_happened;

-- store/batches/counting.py: _stops
-- Return the steps that are not to run twice, of the definitions of unfinished runs.
-- Locks: nothing.
-- Parameters: run_keys=$1.
SELECT DISTINCT r.definition_key FROM unnest($1::bigint[]) u(run_key)
CROSS JOIN LATERAL (
    SELECT definition_key, status FROM zart.runs WHERE runs.run_key = u.run_key OFFSET 0) r
WHERE r.status IN ('scheduled', 'running');
