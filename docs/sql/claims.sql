-- store/claims.py: claim (claim only)
-- Lease queued tasks that are due, oldest first; none while a rule is settling.
-- Locks: queue, passing over locked rows; runs, passing over locked rows.
-- Parameters: marked=$1, marked_times=$2, marked_numbers=$3, max_tasks=$4, lease_seconds=$5,
--   dispatcher_id=$6, principal=$7.
WITH aside AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
), heads AS MATERIALIZED (
    SELECT l.*, h.* FROM (SELECT * FROM (
        SELECT lane, since, since_no FROM unnest(
                $1::integer[], $2::timestamptz[], $3::bigint[])
            m(lane, since, since_no)
    ) a WHERE NOT (SELECT yes FROM aside)) l CROSS JOIN LATERAL (
        SELECT not_before, queue_no FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT 1) h
    ORDER BY h.not_before, h.queue_no
), looked AS MATERIALIZED (
    SELECT *, CASE WHEN n <= 3 THEN $4 ELSE (3 * $4 + n - 1) / n END AS page
    FROM (SELECT LEAST(count(*), $4) AS n, count(*) AS lanes,
            EXTRACT(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS seconds
        FROM heads) l
), seen AS MATERIALIZED (
    SELECT l.*, t.* FROM (SELECT lane, not_before AS since, queue_no AS since_no FROM heads
        WHERE (SELECT lanes FROM looked) > 1
        ORDER BY not_before, queue_no) l CROSS JOIN LATERAL (
            SELECT not_before, queue_no FROM zart.queue
            WHERE lane = l.lane AND not_before <= statement_timestamp()
                AND (not_before, queue_no) >= (l.since, l.since_no)
            ORDER BY not_before, queue_no LIMIT (SELECT page FROM looked)) t
    LIMIT 3 * $4
), quotas AS MATERIALIZED (
    SELECT lane, since, since_no, count(*) AS quota
    FROM (SELECT * FROM seen ORDER BY not_before, queue_no LIMIT $4) oldest
    GROUP BY lane, since, since_no UNION ALL
    SELECT lane, not_before, queue_no, $4 FROM heads
    WHERE (SELECT lanes FROM looked) = 1  -- it is to give all: nothing to compare
), picked AS MATERIALIZED (
    SELECT t.* FROM quotas l CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, attempt, lane, step_name, not_before, queue_no
        FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT l.quota
        FOR UPDATE SKIP LOCKED
    ) t
), others AS MATERIALIZED (
    SELECT t.* FROM (SELECT lane, not_before AS since, queue_no AS since_no FROM heads
        WHERE (SELECT count(*) FROM picked) < $4
            AND (lane IN (SELECT lane FROM picked)) IS NOT TRUE
        ORDER BY not_before, queue_no) l
    CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, attempt, lane, step_name, not_before, queue_no
        FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT (SELECT page FROM looked)
        FOR UPDATE SKIP LOCKED
    ) t
    LIMIT $4 - (SELECT count(*) FROM picked)
), gone AS (
    DELETE FROM zart.queue WHERE ctid = ANY(ARRAY(
        SELECT tid FROM picked UNION ALL SELECT tid FROM others))
    RETURNING run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at
), started AS (
    UPDATE zart.runs SET status = 'running', started_at = statement_timestamp()
    WHERE status || '' = 'scheduled' AND run_key = ANY(ARRAY(
        SELECT r.run_key FROM (SELECT DISTINCT run_key FROM gone WHERE attempt = 1) first
        CROSS JOIN LATERAL (
            SELECT run_key FROM zart.runs
            WHERE run_key = first.run_key AND status || '' = 'scheduled'
            FOR NO KEY UPDATE SKIP LOCKED) r))
), leased AS (
    INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at,
            lease_token, started_at, lease_expires_at, lease_seconds, dispatcher_id, principal)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at,
        nextval('zart.lease_tokens'), statement_timestamp(),
        statement_timestamp() + $5 * interval '1 second', $5,
        $6, $7
    FROM gone ORDER BY not_before, queue_no
    RETURNING run_key, step_no, attempt, max_attempts, lease_token, lease_expires_at, lane,
        not_before, queue_no, correction
)
SELECT run_key, step_no, attempt, max_attempts, lease_token, lease_expires_at, lane,
    not_before, queue_no, correction FROM leased
UNION ALL
SELECT NULL, yes::integer, (
        n > 3 AND EXISTS (SELECT FROM gone) AND (SELECT count(*) FROM gone) < $4
        AND EXISTS (SELECT FROM quotas WHERE quota >= page))::integer,
(SELECT false AS yes)::integer, lanes, statement_timestamp(), NULL, NULL, (seconds * 1e6)::bigint,
    NULL::integer
FROM aside, looked;

-- store/claims.py: claim (claim tasks)
-- Lease queued tasks that are due, oldest first; none while a rule is settling.
-- Locks: queue, passing over locked rows; runs, passing over locked rows.
-- Parameters: marked=$1, marked_times=$2, marked_numbers=$3, since=$4, task_names=$5, max_tasks=$6,
--   lease_seconds=$7, dispatcher_id=$8, principal=$9.
WITH aside AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
), heads AS MATERIALIZED (
    SELECT l.*, h.* FROM (SELECT * FROM (
        SELECT lane, since, since_no FROM unnest(
                $1::integer[], $2::timestamptz[], $3::bigint[])
            m(lane, since, since_no)
        UNION ALL
        SELECT lane, COALESCE($4::timestamptz, '-infinity'), 0
        FROM zart.lanes
        WHERE task_name = ANY($5::text[])
            AND (lane IN (SELECT unnest($1::integer[]))) IS NOT TRUE
    ) a WHERE NOT (SELECT yes FROM aside)) l CROSS JOIN LATERAL (
        SELECT not_before, queue_no FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT 1) h
    ORDER BY h.not_before, h.queue_no
), looked AS MATERIALIZED (
    SELECT *, CASE WHEN n <= 3 THEN $6 ELSE (3 * $6 + n - 1) / n END AS page
    FROM (SELECT LEAST(count(*), $6) AS n, count(*) AS lanes,
            EXTRACT(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS seconds
        FROM heads) l
), seen AS MATERIALIZED (
    SELECT l.*, t.* FROM (SELECT lane, not_before AS since, queue_no AS since_no FROM heads
        WHERE (SELECT lanes FROM looked) > 1
        ORDER BY not_before, queue_no) l CROSS JOIN LATERAL (
            SELECT not_before, queue_no FROM zart.queue
            WHERE lane = l.lane AND not_before <= statement_timestamp()
                AND (not_before, queue_no) >= (l.since, l.since_no)
            ORDER BY not_before, queue_no LIMIT (SELECT page FROM looked)) t
    LIMIT 3 * $6
), quotas AS MATERIALIZED (
    SELECT lane, since, since_no, count(*) AS quota
    FROM (SELECT * FROM seen ORDER BY not_before, queue_no LIMIT $6) oldest
    GROUP BY lane, since, since_no UNION ALL
    SELECT lane, not_before, queue_no, $6 FROM heads
    WHERE (SELECT lanes FROM looked) = 1  -- it is to give all: nothing to compare
), picked AS MATERIALIZED (
    SELECT t.* FROM quotas l CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, attempt, lane, step_name, not_before, queue_no
        FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT l.quota
        FOR UPDATE SKIP LOCKED
    ) t
), others AS MATERIALIZED (
    SELECT t.* FROM (SELECT lane, not_before AS since, queue_no AS since_no FROM heads
        WHERE (SELECT count(*) FROM picked) < $6
            AND (lane IN (SELECT lane FROM picked)) IS NOT TRUE
        ORDER BY not_before, queue_no) l
    CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, attempt, lane, step_name, not_before, queue_no
        FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT (SELECT page FROM looked)
        FOR UPDATE SKIP LOCKED
    ) t
    LIMIT $6 - (SELECT count(*) FROM picked)
), gone AS (
    DELETE FROM zart.queue WHERE ctid = ANY(ARRAY(
        SELECT tid FROM picked UNION ALL SELECT tid FROM others))
    RETURNING run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at
), started AS (
    UPDATE zart.runs SET status = 'running', started_at = statement_timestamp()
    WHERE status || '' = 'scheduled' AND run_key = ANY(ARRAY(
        SELECT r.run_key FROM (SELECT DISTINCT run_key FROM gone WHERE attempt = 1) first
        CROSS JOIN LATERAL (
            SELECT run_key FROM zart.runs
            WHERE run_key = first.run_key AND status || '' = 'scheduled'
            FOR NO KEY UPDATE SKIP LOCKED) r))
), leased AS (
    INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at,
            lease_token, started_at, lease_expires_at, lease_seconds, dispatcher_id, principal)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at,
        nextval('zart.lease_tokens'), statement_timestamp(),
        statement_timestamp() + $7 * interval '1 second', $7,
        $8, $9
    FROM gone ORDER BY not_before, queue_no
    RETURNING run_key, step_no, attempt, max_attempts, lease_token, lease_expires_at, lane,
        not_before, queue_no, correction
)
SELECT run_key, step_no, attempt, max_attempts, lease_token, lease_expires_at, lane,
    not_before, queue_no, correction FROM leased
UNION ALL
(SELECT NULL, NULL, NULL, NULL, NULL, NULL, lane, not_before, queue_no, NULL FROM heads
    ORDER BY not_before, queue_no LIMIT GREATEST($6, 128))
UNION ALL
SELECT NULL, yes::integer, (
        n > 3 AND EXISTS (SELECT FROM gone) AND (SELECT count(*) FROM gone) < $6
        AND EXISTS (SELECT FROM quotas WHERE quota >= page))::integer,
(SELECT false AS yes)::integer, lanes, statement_timestamp(), NULL, NULL, (seconds * 1e6)::bigint,
    NULL::integer
FROM aside, looked;

-- store/claims.py: claim (claim handlers)
-- Lease queued tasks that are due, oldest first; none while a rule is settling.
-- Locks: queue, passing over locked rows; runs, passing over locked rows.
-- Parameters: marked=$1, marked_times=$2, marked_numbers=$3, since=$4, task_names=$5, handlers=$6,
--   max_tasks=$7, lease_seconds=$8, dispatcher_id=$9, principal=$10.
WITH aside AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
), heads AS MATERIALIZED (
    SELECT l.*, h.* FROM (SELECT * FROM (
        SELECT lane, since, since_no FROM unnest(
                $1::integer[], $2::timestamptz[], $3::bigint[])
            m(lane, since, since_no)
        UNION ALL
        SELECT lane, COALESCE($4::timestamptz, '-infinity'), 0
        FROM zart.lanes
        WHERE task_name = ANY($5::text[])
            AND (lane IN (SELECT unnest($1::integer[]))) IS NOT TRUE AND handler = ANY($6::text[])
    ) a WHERE NOT (SELECT yes FROM aside)) l CROSS JOIN LATERAL (
        SELECT not_before, queue_no FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT 1) h
    ORDER BY h.not_before, h.queue_no
), looked AS MATERIALIZED (
    SELECT *, CASE WHEN n <= 3 THEN $7 ELSE (3 * $7 + n - 1) / n END AS page
    FROM (SELECT LEAST(count(*), $7) AS n, count(*) AS lanes,
            EXTRACT(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS seconds
        FROM heads) l
), seen AS MATERIALIZED (
    SELECT l.*, t.* FROM (SELECT lane, not_before AS since, queue_no AS since_no FROM heads
        WHERE (SELECT lanes FROM looked) > 1
        ORDER BY not_before, queue_no) l CROSS JOIN LATERAL (
            SELECT not_before, queue_no FROM zart.queue
            WHERE lane = l.lane AND not_before <= statement_timestamp()
                AND (not_before, queue_no) >= (l.since, l.since_no)
            ORDER BY not_before, queue_no LIMIT (SELECT page FROM looked)) t
    LIMIT 3 * $7
), quotas AS MATERIALIZED (
    SELECT lane, since, since_no, count(*) AS quota
    FROM (SELECT * FROM seen ORDER BY not_before, queue_no LIMIT $7) oldest
    GROUP BY lane, since, since_no UNION ALL
    SELECT lane, not_before, queue_no, $7 FROM heads
    WHERE (SELECT lanes FROM looked) = 1  -- it is to give all: nothing to compare
), picked AS MATERIALIZED (
    SELECT t.* FROM quotas l CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, attempt, lane, step_name, not_before, queue_no
        FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT l.quota
        FOR UPDATE SKIP LOCKED
    ) t
), others AS MATERIALIZED (
    SELECT t.* FROM (SELECT lane, not_before AS since, queue_no AS since_no FROM heads
        WHERE (SELECT count(*) FROM picked) < $7
            AND (lane IN (SELECT lane FROM picked)) IS NOT TRUE
        ORDER BY not_before, queue_no) l
    CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, attempt, lane, step_name, not_before, queue_no
        FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT (SELECT page FROM looked)
        FOR UPDATE SKIP LOCKED
    ) t
    LIMIT $7 - (SELECT count(*) FROM picked)
), gone AS (
    DELETE FROM zart.queue WHERE ctid = ANY(ARRAY(
        SELECT tid FROM picked UNION ALL SELECT tid FROM others))
    RETURNING run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at
), started AS (
    UPDATE zart.runs SET status = 'running', started_at = statement_timestamp()
    WHERE status || '' = 'scheduled' AND run_key = ANY(ARRAY(
        SELECT r.run_key FROM (SELECT DISTINCT run_key FROM gone WHERE attempt = 1) first
        CROSS JOIN LATERAL (
            SELECT run_key FROM zart.runs
            WHERE run_key = first.run_key AND status || '' = 'scheduled'
            FOR NO KEY UPDATE SKIP LOCKED) r))
), leased AS (
    INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at,
            lease_token, started_at, lease_expires_at, lease_seconds, dispatcher_id, principal)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at,
        nextval('zart.lease_tokens'), statement_timestamp(),
        statement_timestamp() + $8 * interval '1 second', $8,
        $9, $10
    FROM gone ORDER BY not_before, queue_no
    RETURNING run_key, step_no, attempt, max_attempts, lease_token, lease_expires_at, lane,
        not_before, queue_no, correction
)
SELECT run_key, step_no, attempt, max_attempts, lease_token, lease_expires_at, lane,
    not_before, queue_no, correction FROM leased
UNION ALL
(SELECT NULL, NULL, NULL, NULL, NULL, NULL, lane, not_before, queue_no, NULL FROM heads
    ORDER BY not_before, queue_no LIMIT GREATEST($7, 128))
UNION ALL
SELECT NULL, yes::integer, (
        n > 3 AND EXISTS (SELECT FROM gone) AND (SELECT count(*) FROM gone) < $7
        AND EXISTS (SELECT FROM quotas WHERE quota >= page))::integer,
(SELECT false AS yes)::integer, lanes, statement_timestamp(), NULL, NULL, (seconds * 1e6)::bigint,
    NULL::integer
FROM aside, looked;

-- store/claims.py: claim (claim queue)
-- Lease queued tasks that are due, oldest first; none while a rule is settling.
-- Locks: queue, passing over locked rows; runs, passing over locked rows.
-- Parameters: task_names=$1, marked=$2, marked_times=$3, marked_numbers=$4, since=$5, max_tasks=$6,
--   lease_seconds=$7, dispatcher_id=$8, principal=$9.
WITH aside AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
), heads AS MATERIALIZED (
    SELECT l.*, h.* FROM (SELECT * FROM (
        WITH RECURSIVE many AS MATERIALIZED (
            SELECT count(*) > 256 AS yes FROM (
                SELECT FROM zart.lanes WHERE task_name = ANY($1::text[]) LIMIT 256 + 1) l
        ), filled(lane, n) AS (
            SELECT 2147483647, 0 WHERE (SELECT yes FROM many)
            UNION ALL
            SELECT q.lane, n + 1 FROM filled f CROSS JOIN LATERAL (
                SELECT lane FROM zart.queue WHERE lane < f.lane
                ORDER BY lane DESC, not_before DESC, queue_no DESC LIMIT 1) q
            WHERE n <= 1000
        ), skipped AS MATERIALIZED (
            SELECT yes AND (SELECT max(n) FROM filled) <= 1000 AS yes FROM many
        )
        SELECT lane, since, since_no FROM unnest(
                $2::integer[], $3::timestamptz[], $4::bigint[])
            m(lane, since, since_no)
        UNION ALL
        SELECT lane, COALESCE($5::timestamptz, '-infinity'), 0 FROM zart.lanes
        WHERE NOT (SELECT yes FROM skipped) AND task_name = ANY($1::text[])
            AND (lane IN (SELECT unnest($2::integer[]))) IS NOT TRUE
        UNION ALL
        SELECT lane, COALESCE($5::timestamptz, '-infinity'), 0 FROM (
            SELECT l.* FROM filled f CROSS JOIN LATERAL (
                SELECT lane, task_name FROM zart.lanes WHERE lane = f.lane OFFSET 0) l) l
        WHERE (SELECT yes FROM skipped) AND task_name = ANY($1::text[])
            AND (lane IN (SELECT unnest($2::integer[]))) IS NOT TRUE
    ) a WHERE NOT (SELECT yes FROM aside)) l CROSS JOIN LATERAL (
        SELECT not_before, queue_no FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT 1) h
    ORDER BY h.not_before, h.queue_no
), looked AS MATERIALIZED (
    SELECT *, CASE WHEN n <= 3 THEN $6 ELSE (3 * $6 + n - 1) / n END AS page
    FROM (SELECT LEAST(count(*), $6) AS n, count(*) AS lanes,
            EXTRACT(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS seconds
        FROM heads) l
), seen AS MATERIALIZED (
    SELECT l.*, t.* FROM (SELECT lane, not_before AS since, queue_no AS since_no FROM heads
        WHERE (SELECT lanes FROM looked) > 1
        ORDER BY not_before, queue_no) l CROSS JOIN LATERAL (
            SELECT not_before, queue_no FROM zart.queue
            WHERE lane = l.lane AND not_before <= statement_timestamp()
                AND (not_before, queue_no) >= (l.since, l.since_no)
            ORDER BY not_before, queue_no LIMIT (SELECT page FROM looked)) t
    LIMIT 3 * $6
), quotas AS MATERIALIZED (
    SELECT lane, since, since_no, count(*) AS quota
    FROM (SELECT * FROM seen ORDER BY not_before, queue_no LIMIT $6) oldest
    GROUP BY lane, since, since_no UNION ALL
    SELECT lane, not_before, queue_no, $6 FROM heads
    WHERE (SELECT lanes FROM looked) = 1  -- it is to give all: nothing to compare
), picked AS MATERIALIZED (
    SELECT t.* FROM quotas l CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, attempt, lane, step_name, not_before, queue_no
        FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT l.quota
        FOR UPDATE SKIP LOCKED
    ) t
), others AS MATERIALIZED (
    SELECT t.* FROM (SELECT lane, not_before AS since, queue_no AS since_no FROM heads
        WHERE (SELECT count(*) FROM picked) < $6
            AND (lane IN (SELECT lane FROM picked)) IS NOT TRUE
        ORDER BY not_before, queue_no) l
    CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, attempt, lane, step_name, not_before, queue_no
        FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT (SELECT page FROM looked)
        FOR UPDATE SKIP LOCKED
    ) t
    LIMIT $6 - (SELECT count(*) FROM picked)
), gone AS (
    DELETE FROM zart.queue WHERE ctid = ANY(ARRAY(
        SELECT tid FROM picked UNION ALL SELECT tid FROM others))
    RETURNING run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at
), started AS (
    UPDATE zart.runs SET status = 'running', started_at = statement_timestamp()
    WHERE status || '' = 'scheduled' AND run_key = ANY(ARRAY(
        SELECT r.run_key FROM (SELECT DISTINCT run_key FROM gone WHERE attempt = 1) first
        CROSS JOIN LATERAL (
            SELECT run_key FROM zart.runs
            WHERE run_key = first.run_key AND status || '' = 'scheduled'
            FOR NO KEY UPDATE SKIP LOCKED) r))
), leased AS (
    INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at,
            lease_token, started_at, lease_expires_at, lease_seconds, dispatcher_id, principal)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at,
        nextval('zart.lease_tokens'), statement_timestamp(),
        statement_timestamp() + $7 * interval '1 second', $7,
        $8, $9
    FROM gone ORDER BY not_before, queue_no
    RETURNING run_key, step_no, attempt, max_attempts, lease_token, lease_expires_at, lane,
        not_before, queue_no, correction
)
SELECT run_key, step_no, attempt, max_attempts, lease_token, lease_expires_at, lane,
    not_before, queue_no, correction FROM leased
UNION ALL
(SELECT NULL, NULL, NULL, NULL, NULL, NULL, lane, not_before, queue_no, NULL FROM heads
    ORDER BY not_before, queue_no LIMIT GREATEST($6, 128))
UNION ALL
SELECT NULL, yes::integer, (
        n > 3 AND EXISTS (SELECT FROM gone) AND (SELECT count(*) FROM gone) < $6
        AND EXISTS (SELECT FROM quotas WHERE quota >= page))::integer,
    (
        SELECT count(*) > 256 AS yes FROM (
            SELECT FROM zart.lanes WHERE task_name = ANY($1::text[]) LIMIT 256 + 1) l
    )::integer, lanes, statement_timestamp(), NULL, NULL, (seconds * 1e6)::bigint,
    NULL::integer
FROM aside, looked;

-- store/claims.py: claim_past_settling (past settling tasks)
-- Lease as ``claim`` does, while rules are settling, and pause tasks that they match.
-- Locks: queue, passing over locked rows; runs, passing over locked rows.
-- Parameters: marked=$1, marked_times=$2, marked_numbers=$3, since=$4, task_names=$5, max_tasks=$6,
--   lease_seconds=$7, dispatcher_id=$8, principal=$9.
WITH settling AS MATERIALIZED (
    SELECT r.rule_key, r.task_name, r.step_regex, u.run_key, w.of_released, x.is_exempting,
        u.run_key IS NULL AND NOT w.of_released AND NOT x.is_exempting AS is_whole
    FROM zart.pause_work w CROSS JOIN LATERAL (
        SELECT *, COALESCE(NULLIF(w.execution_id, ''), execution_id) AS settled_id
        FROM zart.pause_rules WHERE rule_key = w.rule_key OFFSET 0) r
    CROSS JOIN LATERAL (SELECT EXISTS (
        SELECT FROM zart.pause_exemptions x
        WHERE x.rule_key = r.rule_key AND x.token_until IS NULL OFFSET 0) AS is_exempting OFFSET 0) x
    LEFT JOIN LATERAL (
        SELECT run_key, status FROM zart.runs WHERE execution_key = (
            SELECT execution_key FROM zart.executions WHERE execution_id = r.settled_id)
        ORDER BY run_number DESC LIMIT 1) u ON u.status IN ('scheduled', 'running')
    WHERE work = 'settle' AND r.deleted_at IS NULL
        AND (r.settled_id IS NULL OR u.run_key IS NOT NULL)
), heads AS MATERIALIZED (
    SELECT l.*, h.* FROM (
        SELECT l.*, (
                EXISTS (SELECT FROM settling r WHERE true AND r.task_name IS NULL AND step_regex IS NULL)
                OR l.task_name IN (SELECT task_name FROM settling r WHERE true AND r.task_name IS NOT NULL AND step_regex IS NULL)
                OR COALESCE(l.step_name ~ ANY (ARRAY(
                    SELECT step_regex
                    FROM settling r
                    WHERE true
                        AND r.task_name IS NULL
                        AND step_regex IS NOT NULL)), true)
                OR (l.task_name IN (SELECT task_name FROM settling r WHERE true AND r.task_name IS NOT NULL AND step_regex IS NOT NULL)
                        AND COALESCE(l.step_name ~ ANY (ARRAY(
                            SELECT jsonb_array_elements_text((
                                SELECT jsonb_object_agg(task_name, patterns) FROM (
                                    SELECT task_name, jsonb_agg(step_regex) AS patterns
                                    FROM settling r WHERE true AND r.task_name IS NOT NULL AND step_regex IS NOT NULL
                                    GROUP BY task_name) p) -> l.task_name))), true))) AS is_mixed
        FROM (
            SELECT a.*, l.task_name, l.step_name FROM (
                SELECT lane, since, since_no FROM unnest(
                        $1::integer[], $2::timestamptz[], $3::bigint[])
                    m(lane, since, since_no)
                UNION ALL
                SELECT lane, COALESCE($4::timestamptz, '-infinity'), 0
                FROM zart.lanes
                WHERE task_name = ANY($5::text[])
                    AND (lane IN (SELECT unnest($1::integer[]))) IS NOT TRUE
            ) a CROSS JOIN LATERAL (
                SELECT task_name, step_name FROM zart.lanes WHERE lane = a.lane OFFSET 0) l
        ) l
        WHERE NOT (
                EXISTS (SELECT FROM settling r WHERE is_whole AND r.task_name IS NULL AND step_regex IS NULL)
                OR l.task_name IN (SELECT task_name FROM settling r WHERE is_whole AND r.task_name IS NOT NULL AND step_regex IS NULL)
                OR COALESCE(l.step_name ~ ANY (ARRAY(
                    SELECT step_regex
                    FROM settling r
                    WHERE is_whole
                        AND r.task_name IS NULL
                        AND step_regex IS NOT NULL)), false)
                OR (l.task_name IN (SELECT task_name FROM settling r WHERE is_whole AND r.task_name IS NOT NULL AND step_regex IS NOT NULL)
                        AND COALESCE(l.step_name ~ ANY (ARRAY(
                            SELECT jsonb_array_elements_text((
                                SELECT jsonb_object_agg(task_name, patterns) FROM (
                                    SELECT task_name, jsonb_agg(step_regex) AS patterns
                                    FROM settling r WHERE is_whole AND r.task_name IS NOT NULL AND step_regex IS NOT NULL
                                    GROUP BY task_name) p) -> l.task_name))), false)))
    ) l CROSS JOIN LATERAL (
        SELECT not_before, queue_no FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT 1) h
    ORDER BY h.not_before, h.queue_no
), looked AS MATERIALIZED (
    SELECT *, CASE WHEN n <= 3 THEN $6 ELSE (3 * $6 + n - 1) / n END AS page
    FROM (SELECT LEAST(count(*), $6) AS n, count(*) AS lanes,
            EXTRACT(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS seconds
        FROM heads) l
), clear AS MATERIALIZED (
    SELECT t.*, NULL::bigint AS rule_key
    FROM (SELECT lane, task_name, step_name AS sole, not_before AS since,
            queue_no AS since_no FROM heads WHERE NOT is_mixed ORDER BY not_before, queue_no) l
    CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, attempt, lane, step_name, not_before, queue_no
        FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT (SELECT page FROM looked)
        FOR UPDATE SKIP LOCKED
    ) t
    LIMIT 3 * $6
), mixed AS MATERIALIZED (
    SELECT t.*, (SELECT min(r.rule_key) FROM settling r
        WHERE
            (r.task_name IS NULL OR r.task_name = l.task_name)
            AND (r.step_regex IS NULL OR l.sole IS NULL OR l.sole ~ r.step_regex)
            AND (r.run_key IS NULL OR r.run_key = t.run_key)
            AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
            AND (
                    r.of_released = EXISTS (
                        SELECT FROM zart.released_steps x
                        WHERE x.run_key = t.run_key AND x.step_no = t.step_no AND x.attempt = t.attempt
                            AND x.rule_key = r.rule_key AND (x.token_until IS NOT NULL) = r.of_released OFFSET 0)
                    AND NOT (r.is_exempting AND EXISTS (
                        SELECT FROM zart.pause_exemptions x
                        WHERE x.rule_key = r.rule_key AND x.execution_id = (
                            SELECT execution_id FROM zart.executions WHERE execution_key = (
                                SELECT execution_key FROM zart.runs WHERE run_key = t.run_key)) AND x.token_until IS NULL
                        OFFSET 0)))) AS rule_key
    FROM (SELECT lane, task_name, step_name AS sole, not_before AS since,
            queue_no AS since_no FROM heads WHERE is_mixed ORDER BY not_before, queue_no) l
    CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, attempt, lane, step_name, not_before, queue_no
        FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT 5 * (SELECT page FROM looked)
        FOR UPDATE SKIP LOCKED
    ) t
    LIMIT 5 * $6
), read AS MATERIALIZED (
    SELECT * FROM clear UNION ALL SELECT * FROM mixed
), moved AS (
    DELETE FROM zart.queue USING (
        SELECT tid, rule_key FROM read WHERE rule_key IS NOT NULL
        UNION ALL
        (SELECT tid, rule_key FROM read WHERE rule_key IS NULL
            ORDER BY not_before, queue_no LIMIT $6)) h
    WHERE queue.ctid = h.tid
    RETURNING run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, rule_key
), held AS (
    INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, rule_key)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, rule_key
    FROM moved
    WHERE rule_key IS NOT NULL
), started AS (
    UPDATE zart.runs SET status = 'running', started_at = statement_timestamp()
    WHERE status || '' = 'scheduled' AND run_key = ANY(ARRAY(
        SELECT r.run_key
        FROM (SELECT DISTINCT run_key FROM moved WHERE rule_key IS NULL AND attempt = 1) first
        CROSS JOIN LATERAL (
            SELECT run_key FROM zart.runs
            WHERE run_key = first.run_key AND status || '' = 'scheduled'
            FOR NO KEY UPDATE SKIP LOCKED) r))
), leased AS (
    INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at,
            lease_token, started_at, lease_expires_at, lease_seconds, dispatcher_id, principal)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at,
        nextval('zart.lease_tokens'), statement_timestamp(),
        statement_timestamp() + $7 * interval '1 second', $7,
        $8, $9
    FROM moved WHERE rule_key IS NULL ORDER BY not_before, queue_no
    RETURNING run_key, step_no, attempt, max_attempts, lease_token, lease_expires_at, lane,
        not_before, queue_no, correction
)
SELECT run_key, step_no, attempt, max_attempts, lease_token, lease_expires_at, lane,
    not_before, queue_no, correction FROM leased
UNION ALL
SELECT NULL, NULL, NULL, NULL, count(*), NULL, NULL, NULL, NULL, NULL
FROM moved WHERE rule_key IS NOT NULL;

-- store/claims.py: claim_past_settling (past settling handlers)
-- Lease as ``claim`` does, while rules are settling, and pause tasks that they match.
-- Locks: queue, passing over locked rows; runs, passing over locked rows.
-- Parameters: marked=$1, marked_times=$2, marked_numbers=$3, since=$4, task_names=$5, handlers=$6,
--   max_tasks=$7, lease_seconds=$8, dispatcher_id=$9, principal=$10.
WITH settling AS MATERIALIZED (
    SELECT r.rule_key, r.task_name, r.step_regex, u.run_key, w.of_released, x.is_exempting,
        u.run_key IS NULL AND NOT w.of_released AND NOT x.is_exempting AS is_whole
    FROM zart.pause_work w CROSS JOIN LATERAL (
        SELECT *, COALESCE(NULLIF(w.execution_id, ''), execution_id) AS settled_id
        FROM zart.pause_rules WHERE rule_key = w.rule_key OFFSET 0) r
    CROSS JOIN LATERAL (SELECT EXISTS (
        SELECT FROM zart.pause_exemptions x
        WHERE x.rule_key = r.rule_key AND x.token_until IS NULL OFFSET 0) AS is_exempting OFFSET 0) x
    LEFT JOIN LATERAL (
        SELECT run_key, status FROM zart.runs WHERE execution_key = (
            SELECT execution_key FROM zart.executions WHERE execution_id = r.settled_id)
        ORDER BY run_number DESC LIMIT 1) u ON u.status IN ('scheduled', 'running')
    WHERE work = 'settle' AND r.deleted_at IS NULL
        AND (r.settled_id IS NULL OR u.run_key IS NOT NULL)
), heads AS MATERIALIZED (
    SELECT l.*, h.* FROM (
        SELECT l.*, (
                EXISTS (SELECT FROM settling r WHERE true AND r.task_name IS NULL AND step_regex IS NULL)
                OR l.task_name IN (SELECT task_name FROM settling r WHERE true AND r.task_name IS NOT NULL AND step_regex IS NULL)
                OR COALESCE(l.step_name ~ ANY (ARRAY(
                    SELECT step_regex
                    FROM settling r
                    WHERE true
                        AND r.task_name IS NULL
                        AND step_regex IS NOT NULL)), true)
                OR (l.task_name IN (SELECT task_name FROM settling r WHERE true AND r.task_name IS NOT NULL AND step_regex IS NOT NULL)
                        AND COALESCE(l.step_name ~ ANY (ARRAY(
                            SELECT jsonb_array_elements_text((
                                SELECT jsonb_object_agg(task_name, patterns) FROM (
                                    SELECT task_name, jsonb_agg(step_regex) AS patterns
                                    FROM settling r WHERE true AND r.task_name IS NOT NULL AND step_regex IS NOT NULL
                                    GROUP BY task_name) p) -> l.task_name))), true))) AS is_mixed
        FROM (
            SELECT a.*, l.task_name, l.step_name FROM (
                SELECT lane, since, since_no FROM unnest(
                        $1::integer[], $2::timestamptz[], $3::bigint[])
                    m(lane, since, since_no)
                UNION ALL
                SELECT lane, COALESCE($4::timestamptz, '-infinity'), 0
                FROM zart.lanes
                WHERE task_name = ANY($5::text[])
                    AND (lane IN (SELECT unnest($1::integer[]))) IS NOT TRUE AND handler = ANY($6::text[])
            ) a CROSS JOIN LATERAL (
                SELECT task_name, step_name FROM zart.lanes WHERE lane = a.lane OFFSET 0) l
        ) l
        WHERE NOT (
                EXISTS (SELECT FROM settling r WHERE is_whole AND r.task_name IS NULL AND step_regex IS NULL)
                OR l.task_name IN (SELECT task_name FROM settling r WHERE is_whole AND r.task_name IS NOT NULL AND step_regex IS NULL)
                OR COALESCE(l.step_name ~ ANY (ARRAY(
                    SELECT step_regex
                    FROM settling r
                    WHERE is_whole
                        AND r.task_name IS NULL
                        AND step_regex IS NOT NULL)), false)
                OR (l.task_name IN (SELECT task_name FROM settling r WHERE is_whole AND r.task_name IS NOT NULL AND step_regex IS NOT NULL)
                        AND COALESCE(l.step_name ~ ANY (ARRAY(
                            SELECT jsonb_array_elements_text((
                                SELECT jsonb_object_agg(task_name, patterns) FROM (
                                    SELECT task_name, jsonb_agg(step_regex) AS patterns
                                    FROM settling r WHERE is_whole AND r.task_name IS NOT NULL AND step_regex IS NOT NULL
                                    GROUP BY task_name) p) -> l.task_name))), false)))
    ) l CROSS JOIN LATERAL (
        SELECT not_before, queue_no FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT 1) h
    ORDER BY h.not_before, h.queue_no
), looked AS MATERIALIZED (
    SELECT *, CASE WHEN n <= 3 THEN $7 ELSE (3 * $7 + n - 1) / n END AS page
    FROM (SELECT LEAST(count(*), $7) AS n, count(*) AS lanes,
            EXTRACT(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS seconds
        FROM heads) l
), clear AS MATERIALIZED (
    SELECT t.*, NULL::bigint AS rule_key
    FROM (SELECT lane, task_name, step_name AS sole, not_before AS since,
            queue_no AS since_no FROM heads WHERE NOT is_mixed ORDER BY not_before, queue_no) l
    CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, attempt, lane, step_name, not_before, queue_no
        FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT (SELECT page FROM looked)
        FOR UPDATE SKIP LOCKED
    ) t
    LIMIT 3 * $7
), mixed AS MATERIALIZED (
    SELECT t.*, (SELECT min(r.rule_key) FROM settling r
        WHERE
            (r.task_name IS NULL OR r.task_name = l.task_name)
            AND (r.step_regex IS NULL OR l.sole IS NULL OR l.sole ~ r.step_regex)
            AND (r.run_key IS NULL OR r.run_key = t.run_key)
            AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
            AND (
                    r.of_released = EXISTS (
                        SELECT FROM zart.released_steps x
                        WHERE x.run_key = t.run_key AND x.step_no = t.step_no AND x.attempt = t.attempt
                            AND x.rule_key = r.rule_key AND (x.token_until IS NOT NULL) = r.of_released OFFSET 0)
                    AND NOT (r.is_exempting AND EXISTS (
                        SELECT FROM zart.pause_exemptions x
                        WHERE x.rule_key = r.rule_key AND x.execution_id = (
                            SELECT execution_id FROM zart.executions WHERE execution_key = (
                                SELECT execution_key FROM zart.runs WHERE run_key = t.run_key)) AND x.token_until IS NULL
                        OFFSET 0)))) AS rule_key
    FROM (SELECT lane, task_name, step_name AS sole, not_before AS since,
            queue_no AS since_no FROM heads WHERE is_mixed ORDER BY not_before, queue_no) l
    CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, attempt, lane, step_name, not_before, queue_no
        FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT 5 * (SELECT page FROM looked)
        FOR UPDATE SKIP LOCKED
    ) t
    LIMIT 5 * $7
), read AS MATERIALIZED (
    SELECT * FROM clear UNION ALL SELECT * FROM mixed
), moved AS (
    DELETE FROM zart.queue USING (
        SELECT tid, rule_key FROM read WHERE rule_key IS NOT NULL
        UNION ALL
        (SELECT tid, rule_key FROM read WHERE rule_key IS NULL
            ORDER BY not_before, queue_no LIMIT $7)) h
    WHERE queue.ctid = h.tid
    RETURNING run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, rule_key
), held AS (
    INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, rule_key)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, rule_key
    FROM moved
    WHERE rule_key IS NOT NULL
), started AS (
    UPDATE zart.runs SET status = 'running', started_at = statement_timestamp()
    WHERE status || '' = 'scheduled' AND run_key = ANY(ARRAY(
        SELECT r.run_key
        FROM (SELECT DISTINCT run_key FROM moved WHERE rule_key IS NULL AND attempt = 1) first
        CROSS JOIN LATERAL (
            SELECT run_key FROM zart.runs
            WHERE run_key = first.run_key AND status || '' = 'scheduled'
            FOR NO KEY UPDATE SKIP LOCKED) r))
), leased AS (
    INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at,
            lease_token, started_at, lease_expires_at, lease_seconds, dispatcher_id, principal)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at,
        nextval('zart.lease_tokens'), statement_timestamp(),
        statement_timestamp() + $8 * interval '1 second', $8,
        $9, $10
    FROM moved WHERE rule_key IS NULL ORDER BY not_before, queue_no
    RETURNING run_key, step_no, attempt, max_attempts, lease_token, lease_expires_at, lane,
        not_before, queue_no, correction
)
SELECT run_key, step_no, attempt, max_attempts, lease_token, lease_expires_at, lane,
    not_before, queue_no, correction FROM leased
UNION ALL
SELECT NULL, NULL, NULL, NULL, count(*), NULL, NULL, NULL, NULL, NULL
FROM moved WHERE rule_key IS NOT NULL;

-- store/claims.py: claim_past_settling (past settling queue)
-- Lease as ``claim`` does, while rules are settling, and pause tasks that they match.
-- Locks: queue, passing over locked rows; runs, passing over locked rows.
-- Parameters: task_names=$1, marked=$2, marked_times=$3, marked_numbers=$4, since=$5, max_tasks=$6,
--   lease_seconds=$7, dispatcher_id=$8, principal=$9.
WITH settling AS MATERIALIZED (
    SELECT r.rule_key, r.task_name, r.step_regex, u.run_key, w.of_released, x.is_exempting,
        u.run_key IS NULL AND NOT w.of_released AND NOT x.is_exempting AS is_whole
    FROM zart.pause_work w CROSS JOIN LATERAL (
        SELECT *, COALESCE(NULLIF(w.execution_id, ''), execution_id) AS settled_id
        FROM zart.pause_rules WHERE rule_key = w.rule_key OFFSET 0) r
    CROSS JOIN LATERAL (SELECT EXISTS (
        SELECT FROM zart.pause_exemptions x
        WHERE x.rule_key = r.rule_key AND x.token_until IS NULL OFFSET 0) AS is_exempting OFFSET 0) x
    LEFT JOIN LATERAL (
        SELECT run_key, status FROM zart.runs WHERE execution_key = (
            SELECT execution_key FROM zart.executions WHERE execution_id = r.settled_id)
        ORDER BY run_number DESC LIMIT 1) u ON u.status IN ('scheduled', 'running')
    WHERE work = 'settle' AND r.deleted_at IS NULL
        AND (r.settled_id IS NULL OR u.run_key IS NOT NULL)
), heads AS MATERIALIZED (
    SELECT l.*, h.* FROM (
        SELECT l.*, (
                EXISTS (SELECT FROM settling r WHERE true AND r.task_name IS NULL AND step_regex IS NULL)
                OR l.task_name IN (SELECT task_name FROM settling r WHERE true AND r.task_name IS NOT NULL AND step_regex IS NULL)
                OR COALESCE(l.step_name ~ ANY (ARRAY(
                    SELECT step_regex
                    FROM settling r
                    WHERE true
                        AND r.task_name IS NULL
                        AND step_regex IS NOT NULL)), true)
                OR (l.task_name IN (SELECT task_name FROM settling r WHERE true AND r.task_name IS NOT NULL AND step_regex IS NOT NULL)
                        AND COALESCE(l.step_name ~ ANY (ARRAY(
                            SELECT jsonb_array_elements_text((
                                SELECT jsonb_object_agg(task_name, patterns) FROM (
                                    SELECT task_name, jsonb_agg(step_regex) AS patterns
                                    FROM settling r WHERE true AND r.task_name IS NOT NULL AND step_regex IS NOT NULL
                                    GROUP BY task_name) p) -> l.task_name))), true))) AS is_mixed
        FROM (
            SELECT a.*, l.task_name, l.step_name FROM (
                WITH RECURSIVE many AS MATERIALIZED (
                    SELECT count(*) > 256 AS yes FROM (
                        SELECT FROM zart.lanes WHERE task_name = ANY($1::text[]) LIMIT 256 + 1) l
                ), filled(lane, n) AS (
                    SELECT 2147483647, 0 WHERE (SELECT yes FROM many)
                    UNION ALL
                    SELECT q.lane, n + 1 FROM filled f CROSS JOIN LATERAL (
                        SELECT lane FROM zart.queue WHERE lane < f.lane
                        ORDER BY lane DESC, not_before DESC, queue_no DESC LIMIT 1) q
                    WHERE n <= 1000
                ), skipped AS MATERIALIZED (
                    SELECT yes AND (SELECT max(n) FROM filled) <= 1000 AS yes FROM many
                )
                SELECT lane, since, since_no FROM unnest(
                        $2::integer[], $3::timestamptz[], $4::bigint[])
                    m(lane, since, since_no)
                UNION ALL
                SELECT lane, COALESCE($5::timestamptz, '-infinity'), 0 FROM zart.lanes
                WHERE NOT (SELECT yes FROM skipped) AND task_name = ANY($1::text[])
                    AND (lane IN (SELECT unnest($2::integer[]))) IS NOT TRUE
                UNION ALL
                SELECT lane, COALESCE($5::timestamptz, '-infinity'), 0 FROM (
                    SELECT l.* FROM filled f CROSS JOIN LATERAL (
                        SELECT lane, task_name FROM zart.lanes WHERE lane = f.lane OFFSET 0) l) l
                WHERE (SELECT yes FROM skipped) AND task_name = ANY($1::text[])
                    AND (lane IN (SELECT unnest($2::integer[]))) IS NOT TRUE
            ) a CROSS JOIN LATERAL (
                SELECT task_name, step_name FROM zart.lanes WHERE lane = a.lane OFFSET 0) l
        ) l
        WHERE NOT (
                EXISTS (SELECT FROM settling r WHERE is_whole AND r.task_name IS NULL AND step_regex IS NULL)
                OR l.task_name IN (SELECT task_name FROM settling r WHERE is_whole AND r.task_name IS NOT NULL AND step_regex IS NULL)
                OR COALESCE(l.step_name ~ ANY (ARRAY(
                    SELECT step_regex
                    FROM settling r
                    WHERE is_whole
                        AND r.task_name IS NULL
                        AND step_regex IS NOT NULL)), false)
                OR (l.task_name IN (SELECT task_name FROM settling r WHERE is_whole AND r.task_name IS NOT NULL AND step_regex IS NOT NULL)
                        AND COALESCE(l.step_name ~ ANY (ARRAY(
                            SELECT jsonb_array_elements_text((
                                SELECT jsonb_object_agg(task_name, patterns) FROM (
                                    SELECT task_name, jsonb_agg(step_regex) AS patterns
                                    FROM settling r WHERE is_whole AND r.task_name IS NOT NULL AND step_regex IS NOT NULL
                                    GROUP BY task_name) p) -> l.task_name))), false)))
    ) l CROSS JOIN LATERAL (
        SELECT not_before, queue_no FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT 1) h
    ORDER BY h.not_before, h.queue_no
), looked AS MATERIALIZED (
    SELECT *, CASE WHEN n <= 3 THEN $6 ELSE (3 * $6 + n - 1) / n END AS page
    FROM (SELECT LEAST(count(*), $6) AS n, count(*) AS lanes,
            EXTRACT(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS seconds
        FROM heads) l
), clear AS MATERIALIZED (
    SELECT t.*, NULL::bigint AS rule_key
    FROM (SELECT lane, task_name, step_name AS sole, not_before AS since,
            queue_no AS since_no FROM heads WHERE NOT is_mixed ORDER BY not_before, queue_no) l
    CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, attempt, lane, step_name, not_before, queue_no
        FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT (SELECT page FROM looked)
        FOR UPDATE SKIP LOCKED
    ) t
    LIMIT 3 * $6
), mixed AS MATERIALIZED (
    SELECT t.*, (SELECT min(r.rule_key) FROM settling r
        WHERE
            (r.task_name IS NULL OR r.task_name = l.task_name)
            AND (r.step_regex IS NULL OR l.sole IS NULL OR l.sole ~ r.step_regex)
            AND (r.run_key IS NULL OR r.run_key = t.run_key)
            AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
            AND (
                    r.of_released = EXISTS (
                        SELECT FROM zart.released_steps x
                        WHERE x.run_key = t.run_key AND x.step_no = t.step_no AND x.attempt = t.attempt
                            AND x.rule_key = r.rule_key AND (x.token_until IS NOT NULL) = r.of_released OFFSET 0)
                    AND NOT (r.is_exempting AND EXISTS (
                        SELECT FROM zart.pause_exemptions x
                        WHERE x.rule_key = r.rule_key AND x.execution_id = (
                            SELECT execution_id FROM zart.executions WHERE execution_key = (
                                SELECT execution_key FROM zart.runs WHERE run_key = t.run_key)) AND x.token_until IS NULL
                        OFFSET 0)))) AS rule_key
    FROM (SELECT lane, task_name, step_name AS sole, not_before AS since,
            queue_no AS since_no FROM heads WHERE is_mixed ORDER BY not_before, queue_no) l
    CROSS JOIN LATERAL (
        SELECT ctid AS tid, run_key, step_no, attempt, lane, step_name, not_before, queue_no
        FROM zart.queue
        WHERE lane = l.lane AND not_before <= statement_timestamp()
            AND (not_before, queue_no) >= (l.since, l.since_no)
        ORDER BY not_before, queue_no LIMIT 5 * (SELECT page FROM looked)
        FOR UPDATE SKIP LOCKED
    ) t
    LIMIT 5 * $6
), read AS MATERIALIZED (
    SELECT * FROM clear UNION ALL SELECT * FROM mixed
), moved AS (
    DELETE FROM zart.queue USING (
        SELECT tid, rule_key FROM read WHERE rule_key IS NOT NULL
        UNION ALL
        (SELECT tid, rule_key FROM read WHERE rule_key IS NULL
            ORDER BY not_before, queue_no LIMIT $6)) h
    WHERE queue.ctid = h.tid
    RETURNING run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, rule_key
), held AS (
    INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, rule_key)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, rule_key
    FROM moved
    WHERE rule_key IS NOT NULL
), started AS (
    UPDATE zart.runs SET status = 'running', started_at = statement_timestamp()
    WHERE status || '' = 'scheduled' AND run_key = ANY(ARRAY(
        SELECT r.run_key
        FROM (SELECT DISTINCT run_key FROM moved WHERE rule_key IS NULL AND attempt = 1) first
        CROSS JOIN LATERAL (
            SELECT run_key FROM zart.runs
            WHERE run_key = first.run_key AND status || '' = 'scheduled'
            FOR NO KEY UPDATE SKIP LOCKED) r))
), leased AS (
    INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at,
            lease_token, started_at, lease_expires_at, lease_seconds, dispatcher_id, principal)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at,
        nextval('zart.lease_tokens'), statement_timestamp(),
        statement_timestamp() + $7 * interval '1 second', $7,
        $8, $9
    FROM moved WHERE rule_key IS NULL ORDER BY not_before, queue_no
    RETURNING run_key, step_no, attempt, max_attempts, lease_token, lease_expires_at, lane,
        not_before, queue_no, correction
)
SELECT run_key, step_no, attempt, max_attempts, lease_token, lease_expires_at, lane,
    not_before, queue_no, correction FROM leased
UNION ALL
SELECT NULL, NULL, NULL, NULL, count(*), NULL, NULL, NULL, NULL, NULL
FROM moved WHERE rule_key IS NOT NULL;
