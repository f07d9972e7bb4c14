-- store/batches/made.py: count_outcomes
-- Count what became of what the items that are done have made.
-- Locks: nothing.
-- Parameters: is_cancel=$1, batch_key=$2, made=$3.
SELECT outcome, count(*) FROM (
    SELECT CASE WHEN m.is_current IS NOT TRUE THEN 'superseded'
        WHEN i.step_no >= 0 THEN CASE WHEN step_status = 'cancelled' THEN 'superseded' ELSE step_status END ELSE
        CASE run_status
        WHEN 'completed' THEN 'completed'
        WHEN 'failed' THEN 'dead'
        WHEN 'cancelled' THEN CASE WHEN $1::boolean THEN 'cancelled' ELSE 'superseded' END
        ELSE CASE
        WHEN (SELECT true FROM zart.leases WHERE leases.run_key = m.run_key LIMIT 1)
        THEN 'running'
        WHEN (SELECT true FROM (
            SELECT * FROM zart.held WHERE held.run_key = m.run_key
            ORDER BY step_no LIMIT 20) h WHERE ((EXISTS (
                SELECT FROM zart.pause_rules a
                WHERE a.rule_key = h.rule_key AND a.deleted_at IS NULL OFFSET 0)
                    AND NOT EXISTS (
                        SELECT FROM zart.pause_exemptions x
                        WHERE x.rule_key = h.rule_key AND x.execution_id = i.execution_id AND x.token_until IS NULL
                        OFFSET 0))
                    OR zart.pausing_rule(i.execution_id, m.listed_task, h.step_name, h.run_key, h.step_no,
                            h.attempt) IS NOT NULL) LIMIT 1)
        THEN 'paused'
        WHEN EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AND (SELECT true FROM (
            SELECT * FROM zart.queue WHERE queue.run_key = m.run_key
            ORDER BY step_no LIMIT 20) q
            WHERE zart.settling_rule(i.execution_id, m.listed_task, q.step_name, q.run_key,
                    q.step_no, q.attempt) IS NOT NULL LIMIT 1)
        THEN 'paused'
        WHEN (SELECT true FROM zart.queue WHERE queue.run_key = m.run_key LIMIT 1)
        OR (SELECT true FROM zart.held WHERE held.run_key = m.run_key LIMIT 1)
        THEN 'scheduled'
        ELSE 'pending' END
        END END AS outcome
    FROM (
        SELECT * FROM zart.batch_items WHERE batch_key = $2 AND status = 'done') i
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
                AND run_number = i.run_number + CASE WHEN i.status = 'done' THEN $3::integer ELSE 0 END
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
    ) m ON true) o
GROUP BY outcome;

-- store/batches/made.py: count_dead_again
-- Count what is dead of what items have made that are done: of so many of them, after one.
-- Locks: nothing.
-- Parameters: batch_key=$1, after=$2, limit=$3, made=$4.
SELECT count(*) AS looked_at, max(i.item_no) AS last_item,
    count(*) FILTER (WHERE r.is_current AND
            CASE WHEN i.step_no >= 0 THEN s.status = 'dead' ELSE r.status = 'failed' END) AS dead
FROM (
    SELECT * FROM zart.batch_items
    WHERE batch_key = $1 AND status = 'done' AND item_no > $2::bigint
    ORDER BY item_no LIMIT $3::integer) i
LEFT JOIN LATERAL (
    SELECT run_key, status, is_current, listed_task FROM zart.runs
    WHERE runs.execution_key = i.execution_key
        AND run_number = i.run_number + CASE WHEN i.status = 'done' THEN $4::integer ELSE 0 END
    OFFSET 0) r ON true
LEFT JOIN LATERAL (
    SELECT status FROM zart.steps
    WHERE steps.run_key = r.run_key AND steps.step_no = i.step_no OFFSET 0) s ON true;
