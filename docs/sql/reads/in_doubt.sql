-- store/reads/in_doubt.py: list_in_doubt (lists of all)
-- List attempts in doubt, newest first; a page may have fewer though others follow.
-- Locks: nothing.
-- Parameters: before=$1, looked=$2, task_name=$3, prefix=$4, step_regex=$5, ended_after=$6,
--   ended_before=$7, step_statuses=$8, contains=$9, error_group_id=$10, of_executions=$11,
--   id_prefix=$12, triggered_by=$13, batch_id=$14, created_after=$15, created_before=$16,
--   statuses=$17, limit=$18, page_bytes=$19.
WITH looked AS MATERIALIZED (
    SELECT * FROM zart.in_doubt WHERE resolved_at IS NULL AND in_doubt_key < $1::bigint
    ORDER BY in_doubt_key DESC LIMIT $2::bigint
), found AS (
    SELECT execution_id, run_number, step_name, attempt, task_name, ended_as, dispatcher_id,
        started_at, ended_at, finding, resolved_at, resolved_by, reason, late_status, late_result,
        late_error, late_received_at, late_omitted, in_doubt_key FROM looked d
    WHERE ($3::text = '' OR task_name = $3)
        AND starts_with(execution_id, $4::text)
        AND ($5::text = '' OR step_name ~ $5)
        AND ($6::timestamptz IS NULL OR ended_at >= $6)
        AND ($7::timestamptz IS NULL OR ended_at < $7)
        AND (cardinality($8::text[]) = 0 OR (
            SELECT status FROM zart.steps
            WHERE steps.run_key = d.run_key AND steps.step_no = d.step_no
        ) = ANY($8))
        AND CASE WHEN $9::text = '' THEN true ELSE (
            SELECT position($9 IN (s.error->>'type') || ': ' || (s.error->>'message')) > 0
            FROM zart.steps s
            WHERE s.run_key = d.run_key
                AND s.step_no = d.step_no OFFSET 0) END
        AND CASE WHEN $10::text = '' THEN true ELSE EXISTS (
            SELECT FROM (
                SELECT group_key FROM zart.dead_steps
                WHERE dead_steps.run_key = d.run_key AND dead_steps.step_no = d.step_no OFFSET 0) x
            CROSS JOIN LATERAL (
                SELECT error_group_id, former_id FROM zart.error_groups
                WHERE group_key = x.group_key OFFSET 0) g
            WHERE $10 IN (g.error_group_id, g.former_id)) END
        AND (NOT $11::boolean OR (
            SELECT CASE WHEN $12::text = '' THEN true ELSE (
                SELECT starts_with(e.execution_id, $12) FROM zart.executions e
                WHERE e.execution_key = c.execution_key OFFSET 0) END
                AND CASE WHEN $13::text = '' THEN true ELSE (
                    SELECT o.triggered_by = $13 FROM zart.runs o
                    WHERE o.execution_key = c.execution_key AND o.run_number = 0 OFFSET 0) END
                AND CASE WHEN $14::text = '' THEN true ELSE EXISTS (
                    SELECT FROM zart.batch_items i
                    WHERE i.batch_key = (SELECT b.batch_key FROM zart.batches b WHERE b.batch_id = $14)
                        AND i.execution_key = c.execution_key OFFSET 0) END
                AND ($15::timestamptz IS NULL OR c.listed_at >= $15)
                AND ($16::timestamptz IS NULL OR c.listed_at < $16)
                AND (cardinality($17::text[]) = 0 OR c.status = ANY($17))
            FROM (SELECT execution_key FROM zart.runs
                WHERE runs.run_key = d.run_key OFFSET 0) r
            CROSS JOIN LATERAL (SELECT execution_key, listed_at, status FROM zart.runs
                WHERE runs.execution_key = r.execution_key
                ORDER BY run_number DESC LIMIT 1) c))
    ORDER BY in_doubt_key DESC LIMIT $18::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, n, until FROM (
    SELECT count(*) AS n,
        CASE WHEN count(*) = $2 THEN min(in_doubt_key) END AS until
    FROM looked) l LEFT JOIN (
        SELECT * FROM (
            SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(late_result::text), 0)
                    + COALESCE(octet_length(late_error::text), 0)) OVER (
                        ORDER BY in_doubt_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
            FROM found) sized
        WHERE COALESCE(bytes_before, 0) <= $19::bigint
    ) f ON true
ORDER BY in_doubt_key DESC;

-- store/reads/in_doubt.py: list_in_doubt (lists of a task)
-- List attempts in doubt, newest first; a page may have fewer though others follow.
-- Locks: nothing.
-- Parameters: task_name=$1, before=$2, looked=$3, prefix=$4, step_regex=$5, ended_after=$6,
--   ended_before=$7, step_statuses=$8, contains=$9, error_group_id=$10, of_executions=$11,
--   id_prefix=$12, triggered_by=$13, batch_id=$14, created_after=$15, created_before=$16,
--   statuses=$17, limit=$18, page_bytes=$19.
WITH looked AS MATERIALIZED (
    SELECT * FROM zart.in_doubt WHERE resolved_at IS NULL
        AND (task_name, in_doubt_key) < ($1::text, $2::bigint)
        AND (task_name, in_doubt_key) >= ($1, 0)
    ORDER BY task_name DESC, in_doubt_key DESC LIMIT $3::bigint
), found AS (
    SELECT execution_id, run_number, step_name, attempt, task_name, ended_as, dispatcher_id,
        started_at, ended_at, finding, resolved_at, resolved_by, reason, late_status, late_result,
        late_error, late_received_at, late_omitted, in_doubt_key FROM looked d
    WHERE ($1::text = '' OR task_name = $1)
        AND starts_with(execution_id, $4::text)
        AND ($5::text = '' OR step_name ~ $5)
        AND ($6::timestamptz IS NULL OR ended_at >= $6)
        AND ($7::timestamptz IS NULL OR ended_at < $7)
        AND (cardinality($8::text[]) = 0 OR (
            SELECT status FROM zart.steps
            WHERE steps.run_key = d.run_key AND steps.step_no = d.step_no
        ) = ANY($8))
        AND CASE WHEN $9::text = '' THEN true ELSE (
            SELECT position($9 IN (s.error->>'type') || ': ' || (s.error->>'message')) > 0
            FROM zart.steps s
            WHERE s.run_key = d.run_key
                AND s.step_no = d.step_no OFFSET 0) END
        AND CASE WHEN $10::text = '' THEN true ELSE EXISTS (
            SELECT FROM (
                SELECT group_key FROM zart.dead_steps
                WHERE dead_steps.run_key = d.run_key AND dead_steps.step_no = d.step_no OFFSET 0) x
            CROSS JOIN LATERAL (
                SELECT error_group_id, former_id FROM zart.error_groups
                WHERE group_key = x.group_key OFFSET 0) g
            WHERE $10 IN (g.error_group_id, g.former_id)) END
        AND (NOT $11::boolean OR (
            SELECT CASE WHEN $12::text = '' THEN true ELSE (
                SELECT starts_with(e.execution_id, $12) FROM zart.executions e
                WHERE e.execution_key = c.execution_key OFFSET 0) END
                AND CASE WHEN $13::text = '' THEN true ELSE (
                    SELECT o.triggered_by = $13 FROM zart.runs o
                    WHERE o.execution_key = c.execution_key AND o.run_number = 0 OFFSET 0) END
                AND CASE WHEN $14::text = '' THEN true ELSE EXISTS (
                    SELECT FROM zart.batch_items i
                    WHERE i.batch_key = (SELECT b.batch_key FROM zart.batches b WHERE b.batch_id = $14)
                        AND i.execution_key = c.execution_key OFFSET 0) END
                AND ($15::timestamptz IS NULL OR c.listed_at >= $15)
                AND ($16::timestamptz IS NULL OR c.listed_at < $16)
                AND (cardinality($17::text[]) = 0 OR c.status = ANY($17))
            FROM (SELECT execution_key FROM zart.runs
                WHERE runs.run_key = d.run_key OFFSET 0) r
            CROSS JOIN LATERAL (SELECT execution_key, listed_at, status FROM zart.runs
                WHERE runs.execution_key = r.execution_key
                ORDER BY run_number DESC LIMIT 1) c))
    ORDER BY in_doubt_key DESC LIMIT $18::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, n, until FROM (
    SELECT count(*) AS n,
        CASE WHEN count(*) = $3 THEN min(in_doubt_key) END AS until
    FROM looked) l LEFT JOIN (
        SELECT * FROM (
            SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(late_result::text), 0)
                    + COALESCE(octet_length(late_error::text), 0)) OVER (
                        ORDER BY in_doubt_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
            FROM found) sized
        WHERE COALESCE(bytes_before, 0) <= $19::bigint
    ) f ON true
ORDER BY in_doubt_key DESC;

-- store/reads/in_doubt.py: list_in_doubt (lists of few executions)
-- List attempts in doubt, newest first; a page may have fewer though others follow.
-- Locks: nothing.
-- Parameters: prefix=$1, last=$2, looked=$3, before=$4, task_name=$5, step_regex=$6,
--   ended_after=$7, ended_before=$8, step_statuses=$9, contains=$10, error_group_id=$11,
--   of_executions=$12, id_prefix=$13, triggered_by=$14, batch_id=$15, created_after=$16,
--   created_before=$17, statuses=$18, limit=$19, page_bytes=$20.
WITH looked AS MATERIALIZED (
    SELECT * FROM (
        SELECT * FROM zart.in_doubt WHERE resolved_at IS NULL
            AND execution_id >= $1::text AND execution_id < $1 || $2::text
        ORDER BY execution_id, in_doubt_key LIMIT $3::bigint) f
    WHERE in_doubt_key < $4::bigint
), found AS (
    SELECT execution_id, run_number, step_name, attempt, task_name, ended_as, dispatcher_id,
        started_at, ended_at, finding, resolved_at, resolved_by, reason, late_status, late_result,
        late_error, late_received_at, late_omitted, in_doubt_key FROM looked d
    WHERE ($5::text = '' OR task_name = $5)
        AND starts_with(execution_id, $1::text)
        AND ($6::text = '' OR step_name ~ $6)
        AND ($7::timestamptz IS NULL OR ended_at >= $7)
        AND ($8::timestamptz IS NULL OR ended_at < $8)
        AND (cardinality($9::text[]) = 0 OR (
            SELECT status FROM zart.steps
            WHERE steps.run_key = d.run_key AND steps.step_no = d.step_no
        ) = ANY($9))
        AND CASE WHEN $10::text = '' THEN true ELSE (
            SELECT position($10 IN (s.error->>'type') || ': ' || (s.error->>'message')) > 0
            FROM zart.steps s
            WHERE s.run_key = d.run_key
                AND s.step_no = d.step_no OFFSET 0) END
        AND CASE WHEN $11::text = '' THEN true ELSE EXISTS (
            SELECT FROM (
                SELECT group_key FROM zart.dead_steps
                WHERE dead_steps.run_key = d.run_key AND dead_steps.step_no = d.step_no OFFSET 0) x
            CROSS JOIN LATERAL (
                SELECT error_group_id, former_id FROM zart.error_groups
                WHERE group_key = x.group_key OFFSET 0) g
            WHERE $11 IN (g.error_group_id, g.former_id)) END
        AND (NOT $12::boolean OR (
            SELECT CASE WHEN $13::text = '' THEN true ELSE (
                SELECT starts_with(e.execution_id, $13) FROM zart.executions e
                WHERE e.execution_key = c.execution_key OFFSET 0) END
                AND CASE WHEN $14::text = '' THEN true ELSE (
                    SELECT o.triggered_by = $14 FROM zart.runs o
                    WHERE o.execution_key = c.execution_key AND o.run_number = 0 OFFSET 0) END
                AND CASE WHEN $15::text = '' THEN true ELSE EXISTS (
                    SELECT FROM zart.batch_items i
                    WHERE i.batch_key = (SELECT b.batch_key FROM zart.batches b WHERE b.batch_id = $15)
                        AND i.execution_key = c.execution_key OFFSET 0) END
                AND ($16::timestamptz IS NULL OR c.listed_at >= $16)
                AND ($17::timestamptz IS NULL OR c.listed_at < $17)
                AND (cardinality($18::text[]) = 0 OR c.status = ANY($18))
            FROM (SELECT execution_key FROM zart.runs
                WHERE runs.run_key = d.run_key OFFSET 0) r
            CROSS JOIN LATERAL (SELECT execution_key, listed_at, status FROM zart.runs
                WHERE runs.execution_key = r.execution_key
                ORDER BY run_number DESC LIMIT 1) c))
    ORDER BY in_doubt_key DESC LIMIT $19::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, n, until FROM (
    SELECT count(*) AS n,
        CASE WHEN count(*) = $3 THEN min(in_doubt_key) END AS until
    FROM looked) l LEFT JOIN (
        SELECT * FROM (
            SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(late_result::text), 0)
                    + COALESCE(octet_length(late_error::text), 0)) OVER (
                        ORDER BY in_doubt_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
            FROM found) sized
        WHERE COALESCE(bytes_before, 0) <= $20::bigint
    ) f ON true
ORDER BY in_doubt_key DESC;

-- store/reads/in_doubt.py: list_in_doubt
-- List attempts in doubt, newest first; a page may have fewer though others follow.
-- Locks: nothing.
SELECT count(*) > $3 FROM (
    SELECT FROM zart.in_doubt WHERE resolved_at IS NULL
        AND execution_id >= $1 AND execution_id < $1 || $2 LIMIT $3 + 1) f;
