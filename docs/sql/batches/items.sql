-- store/batches/items.py: pending_items
-- Return the next items that are pending.
-- Locks: nothing.
SELECT item_no, execution_id, execution_key, run_number, step_name, attempt
FROM zart.batch_items
WHERE batch_key = $1
    AND status = 'pending'
    AND item_no > $2
ORDER BY item_no LIMIT $3;

-- store/batches/items.py: write_results
-- Write that items are done, or why they are refused.
-- Locks: batch_items, whose batch the caller has locked.
-- Parameters: batch_key=$1, results=$2.
UPDATE zart.batch_items i SET refusal = u.refusal, done_at = statement_timestamp(),
    status = CASE WHEN u.refusal IS NULL THEN 'done' ELSE 'refused' END
FROM (
    SELECT $1::bigint AS batch_key, 'pending' AS status, r.*
    FROM json_to_recordset($2::text::json)
        r(item_no integer, refusal json) OFFSET 0) u
WHERE i.batch_key = ANY(ARRAY[u.batch_key]) AND i.item_no = u.item_no
    AND i.status = u.status;

-- store/batches/items.py: list_items
-- List items in their order; with ``step_statuses`` a page may have fewer than there are.
-- Locks: nothing.
-- Parameters: statuses=$1, batch_key=$2, after=$3, limit=$4, made=$5, kind=$6, batch_id=$7.
SELECT i.item_no, i.execution_id, i.run_number, i.step_name, i.status, i.refusal, i.done_at,
    COALESCE(m.run_status, l.status) AS run_status, m.step_status, o.operation_key
FROM (
    SELECT n.* FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
        SELECT * FROM zart.batch_items
        WHERE batch_key = $2 AND batch_items.status BETWEEN s.status AND s.status
            AND item_no > $3::bigint
        ORDER BY batch_items.status, item_no LIMIT $4::integer) n
    ORDER BY item_no LIMIT $4) i
LEFT JOIN LATERAL (
    SELECT r.is_current, r.status AS run_status, r.run_key, r.listed_task,
        CASE WHEN s.status <> 'open' THEN s.status
        WHEN l.run_key IS NOT NULL THEN 'running'
        WHEN h.run_key IS NOT NULL
        THEN CASE WHEN ((EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = h.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = h.rule_key AND x.execution_id = i.execution_id AND x.token_until IS NULL
                    OFFSET 0))
                OR zart.pausing_rule(i.execution_id, r.listed_task, h.step_name, h.run_key, h.step_no,
                        h.attempt) IS NOT NULL) THEN 'paused' ELSE 'scheduled' END
        WHEN q.run_key IS NOT NULL
        THEN CASE WHEN EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle')
        AND zart.settling_rule(i.execution_id, r.listed_task, q.step_name, q.run_key,
                q.step_no, q.attempt) IS NOT NULL THEN 'paused' ELSE 'scheduled' END
        WHEN s.status IS NOT NULL THEN 'pending' END AS step_status
    FROM (
        SELECT run_key, status, is_current, listed_task FROM zart.runs
        WHERE runs.execution_key = i.execution_key
            AND run_number = i.run_number + CASE WHEN i.status = 'done' THEN $5::integer ELSE 0 END
        OFFSET 0) r
    LEFT JOIN LATERAL (
        SELECT status FROM zart.steps
        WHERE steps.run_key = r.run_key AND steps.step_no = i.step_no OFFSET 0) s ON true
    LEFT JOIN LATERAL (
        SELECT run_key FROM zart.leases WHERE s.status = 'open'
            AND leases.run_key = r.run_key AND leases.step_no = i.step_no OFFSET 0) l ON true
    LEFT JOIN LATERAL (
        SELECT run_key, step_no, step_name, attempt, rule_key FROM zart.held
        WHERE s.status = 'open'
            AND held.run_key = r.run_key AND held.step_no = i.step_no OFFSET 0) h ON true
    LEFT JOIN LATERAL (
        SELECT run_key, step_no, step_name, attempt FROM zart.queue WHERE s.status = 'open'
            AND queue.run_key = r.run_key AND queue.step_no = i.step_no OFFSET 0) q ON true
) m ON true
LEFT JOIN LATERAL (
    SELECT status FROM zart.runs
    WHERE i.execution_key IS NULL AND runs.run_key = i.run_key OFFSET 0) l ON true
LEFT JOIN LATERAL (
    SELECT max(operation_key) AS operation_key FROM (
        SELECT operation_key FROM zart.operations
        WHERE i.status = 'done' AND operations.execution_id = i.execution_id
            AND kind = $6 AND operations.batch_id = $7
            AND operations.step_name = i.step_name
        UNION ALL
        SELECT operation_key FROM zart.operation_attempts
        WHERE i.status = 'refused' AND operation_attempts.execution_id = i.execution_id
            AND kind = $6 AND operation_attempts.batch_id = $7
            AND operation_attempts.step_name = i.step_name) both_tables) o ON true
ORDER BY i.item_no;
