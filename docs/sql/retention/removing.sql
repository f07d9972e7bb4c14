-- store/retention/removing.py: allow_purge
-- Have append-only tables allow a purge, in a transaction that began without that.
-- Locks: nothing.
SELECT set_config('zart.purge', 'on', true);

-- store/retention/removing.py: undone_if_late
-- Have each statement take so long at most; where one would take longer, undo all within.
-- Locks: nothing.
SELECT current_setting('statement_timeout');

-- store/retention/removing.py: undone_if_late
-- Have each statement take so long at most; where one would take longer, undo all within.
-- Locks: nothing.
SELECT set_config('statement_timeout', $1, true);

-- store/retention/removing.py: undone_if_late
-- Have each statement take so long at most; where one would take longer, undo all within.
-- Locks: nothing.
SELECT set_config('statement_timeout', $1, true);

-- store/retention/removing.py: lock_ended
-- Lock executions that may go, and their current runs; return those that are locked by that.
-- Locks: executions, if nobody has; runs, if nobody has.
-- Parameters: execution_keys=$1.
WITH at_work AS MATERIALIZED (
    SELECT b.* FROM unnest(ARRAY['preparing', 'running', 'paused']) s(status)
    CROSS JOIN LATERAL (
        SELECT batch_key, is_prepared, execution_ids FROM zart.batches
        WHERE status = s.status OFFSET 0) b
), named AS MATERIALIZED (
    SELECT unnest(execution_ids) AS execution_id FROM at_work WHERE NOT is_prepared
), trying AS MATERIALIZED (
    SELECT rule_key, half_open_at FROM zart.breakers WHERE status = 'half_open'
)
SELECT e.execution_key FROM (
    SELECT execution_key FROM zart.executions e
    WHERE execution_key = ANY($1::bigint[]) AND
        NOT EXISTS (
            SELECT FROM zart.in_doubt d
            WHERE d.execution_id = e.execution_id AND d.resolved_at IS NULL OFFSET 0)
        AND NOT EXISTS (
            SELECT FROM at_work b CROSS JOIN LATERAL (
                SELECT FROM zart.batch_items i
                WHERE i.batch_key = b.batch_key AND i.execution_key = e.execution_key LIMIT 1) i)
        AND (e.execution_id IN (SELECT execution_id FROM named)) IS NOT TRUE
        AND NOT EXISTS (
            SELECT FROM trying b CROSS JOIN LATERAL (
                SELECT run_key FROM zart.runs WHERE runs.execution_key = e.execution_key OFFSET 0) r
            CROSS JOIN LATERAL (
                SELECT FROM zart.released_steps x
                WHERE x.rule_key = b.rule_key AND x.run_key = r.run_key
                    AND x.released_at > b.half_open_at LIMIT 1) x)
    ORDER BY execution_key FOR UPDATE SKIP LOCKED) e
CROSS JOIN LATERAL (
    SELECT is_current FROM zart.runs WHERE runs.execution_key = e.execution_key
    ORDER BY run_number DESC LIMIT 1 FOR UPDATE SKIP LOCKED) r
WHERE r.is_current;

-- store/retention/removing.py: count_ended
-- Count executions of a task that ended before a time.
-- Locks: nothing.
-- Parameters: statuses=$1, task_name=$2, ended_before=$3, most=$4.
WITH at_work AS MATERIALIZED (
    SELECT b.* FROM unnest(ARRAY['preparing', 'running', 'paused']) s(status)
    CROSS JOIN LATERAL (
        SELECT batch_key, is_prepared, execution_ids FROM zart.batches
        WHERE status = s.status OFFSET 0) b
), named AS MATERIALIZED (
    SELECT unnest(execution_ids) AS execution_id FROM at_work WHERE NOT is_prepared
), trying AS MATERIALIZED (
    SELECT rule_key, half_open_at FROM zart.breakers WHERE status = 'half_open'
), looked AS MATERIALIZED (
    SELECT s.status, r.* FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
        SELECT execution_key, completed_at FROM zart.runs
        WHERE is_current AND (listed_task, status, listed_at, execution_key)
            >= ($2::text, s.status, '-infinity', 0)
            AND (listed_task, status, listed_at, execution_key)
            < ($2, s.status, $3::timestamptz, 0)
        ORDER BY listed_task, status, listed_at, execution_key LIMIT $4::bigint) r
), ended AS MATERIALIZED (
    SELECT execution_key FROM looked WHERE completed_at < $3
)
SELECT count(*) FILTER (WHERE may_go), count(*) FILTER (WHERE NOT may_go),
    EXISTS (SELECT FROM looked GROUP BY status HAVING count(*) = $4)
FROM (
    SELECT
        NOT EXISTS (
            SELECT FROM zart.in_doubt d
            WHERE d.execution_id = e.execution_id AND d.resolved_at IS NULL OFFSET 0)
        AND NOT EXISTS (
            SELECT FROM at_work b CROSS JOIN LATERAL (
                SELECT FROM zart.batch_items i
                WHERE i.batch_key = b.batch_key AND i.execution_key = e.execution_key LIMIT 1) i)
        AND (e.execution_id IN (SELECT execution_id FROM named)) IS NOT TRUE
        AND NOT EXISTS (
            SELECT FROM trying b CROSS JOIN LATERAL (
                SELECT run_key FROM zart.runs WHERE runs.execution_key = e.execution_key OFFSET 0) r
            CROSS JOIN LATERAL (
                SELECT FROM zart.released_steps x
                WHERE x.rule_key = b.rule_key AND x.run_key = r.run_key
                    AND x.released_at > b.half_open_at LIMIT 1) x)
        AS may_go FROM ended CROSS JOIN LATERAL (
            SELECT execution_key, execution_id FROM zart.executions
            WHERE execution_key = ended.execution_key OFFSET 0) e) found;

-- store/retention/removing.py: remove_ended
-- Remove executions that the caller has locked, with all that refers to them or to their runs.
-- Locks: executions, which the caller has locked; runs, the current ones of which the caller has locked; steps; attempts; step_inputs; in_doubt; released_steps; pause_exemptions, of rules that have ended; requests.
-- Parameters: execution_keys=$1, ended_before=$2, kinds=$3, rpcs=$4.
WITH at_work AS MATERIALIZED (
    SELECT b.* FROM unnest(ARRAY['preparing', 'running', 'paused']) s(status)
    CROSS JOIN LATERAL (
        SELECT batch_key, is_prepared, execution_ids FROM zart.batches
        WHERE status = s.status OFFSET 0) b
), named AS MATERIALIZED (
    SELECT unnest(execution_ids) AS execution_id FROM at_work WHERE NOT is_prepared
), trying AS MATERIALIZED (
    SELECT rule_key, half_open_at FROM zart.breakers WHERE status = 'half_open'
), old AS MATERIALIZED (
    SELECT e.execution_key, e.execution_id
    FROM unnest($1::bigint[]) k(execution_key)
    CROSS JOIN LATERAL (
        SELECT execution_key, execution_id FROM zart.executions
        WHERE execution_key = k.execution_key OFFSET 0) e
    CROSS JOIN LATERAL (
        SELECT completed_at FROM zart.runs WHERE runs.execution_key = e.execution_key
        ORDER BY run_number DESC LIMIT 1) r
    WHERE r.completed_at < $2::timestamptz AND
        NOT EXISTS (
            SELECT FROM zart.in_doubt d
            WHERE d.execution_id = e.execution_id AND d.resolved_at IS NULL OFFSET 0)
        AND NOT EXISTS (
            SELECT FROM at_work b CROSS JOIN LATERAL (
                SELECT FROM zart.batch_items i
                WHERE i.batch_key = b.batch_key AND i.execution_key = e.execution_key LIMIT 1) i)
        AND (e.execution_id IN (SELECT execution_id FROM named)) IS NOT TRUE
        AND NOT EXISTS (
            SELECT FROM trying b CROSS JOIN LATERAL (
                SELECT run_key FROM zart.runs WHERE runs.execution_key = e.execution_key OFFSET 0) r
            CROSS JOIN LATERAL (
                SELECT FROM zart.released_steps x
                WHERE x.rule_key = b.rule_key AND x.run_key = r.run_key
                    AND x.released_at > b.half_open_at LIMIT 1) x)
), gone AS MATERIALIZED (
    SELECT run_key FROM zart.runs
    WHERE execution_key = ANY(ARRAY(SELECT execution_key FROM old))
), steps AS (
    DELETE FROM zart.steps WHERE run_key = ANY(ARRAY(SELECT run_key FROM gone))
), attempts AS (
    DELETE FROM zart.attempts WHERE run_key = ANY(ARRAY(SELECT run_key FROM gone))
), step_inputs AS (
    DELETE FROM zart.step_inputs WHERE run_key = ANY(ARRAY(SELECT run_key FROM gone))
), in_doubt AS (
    DELETE FROM zart.in_doubt WHERE run_key = ANY(ARRAY(SELECT run_key FROM gone))
), released_steps AS (
    DELETE FROM zart.released_steps WHERE run_key = ANY(ARRAY(SELECT run_key FROM gone))
), runs AS (
    DELETE FROM zart.runs WHERE run_key = ANY(ARRAY(SELECT run_key FROM gone))
), executions AS (
    DELETE FROM zart.executions
    WHERE execution_key = ANY(ARRAY(SELECT execution_key FROM old))
), pause_exemptions AS (
    DELETE FROM zart.pause_exemptions WHERE ctid = ANY(ARRAY(
        SELECT x.row FROM old o
        CROSS JOIN LATERAL (
            SELECT ctid AS row, rule_key FROM zart.pause_exemptions
            WHERE execution_id = o.execution_id OFFSET 0) x
        CROSS JOIN LATERAL (
            SELECT FROM zart.pause_rules
            WHERE rule_key = x.rule_key AND deleted_at IS NOT NULL OFFSET 0) p))
), requests AS (
    DELETE FROM zart.requests WHERE ctid = ANY(ARRAY(
        SELECT q.row FROM old o
        CROSS JOIN LATERAL unnest($3::text[], $4::text[]) k(kind, rpc)
        CROSS JOIN LATERAL (
            SELECT principal, request_id, created_at FROM zart.operations
            WHERE execution_id = o.execution_id AND kind = k.kind OFFSET 0) p
        CROSS JOIN LATERAL (
            SELECT ctid AS row FROM zart.requests
            WHERE caller = p.principal AND rpc = k.rpc AND request_id = p.request_id
                AND created_at BETWEEN p.created_at AND p.created_at + interval '1 hour'
            OFFSET 0) q))
)
SELECT (SELECT count(*) FROM old), (SELECT count(*) FROM gone);
