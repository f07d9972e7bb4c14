-- store/due.py: due_lanes (due lanes tasks)
-- Return the lanes of these tasks that have queued tasks, due or not.
-- Locks: nothing.
-- Parameters: marked=$1, marked_times=$2, marked_numbers=$3, since=$4, task_names=$5.
WITH settling AS MATERIALIZED (
    SELECT r.* FROM zart.pause_work w CROSS JOIN LATERAL (
        SELECT * FROM zart.pause_rules WHERE rule_key = w.rule_key OFFSET 0) r
    WHERE work = 'settle' AND w.execution_id = '' AND NOT w.of_released
        AND r.deleted_at IS NULL AND r.execution_id IS NULL
        AND NOT EXISTS (
            SELECT FROM zart.pause_exemptions x
            WHERE x.rule_key = r.rule_key AND x.token_until IS NULL OFFSET 0)
)
SELECT statement_timestamp(), EXISTS (SELECT FROM settling), (SELECT false AS yes), due.*
FROM (SELECT) one LEFT JOIN LATERAL (
    SELECT l.lane, l.task_name, l.handler, h.not_before, h.queue_no,
        GREATEST(EXTRACT(epoch FROM h.not_before - statement_timestamp()), 0)::float8
    FROM (
        SELECT lane, since, since_no FROM unnest(
                $1::integer[], $2::timestamptz[], $3::bigint[])
            m(lane, since, since_no)
        UNION ALL
        SELECT lane, COALESCE($4::timestamptz, '-infinity'), 0
        FROM zart.lanes
        WHERE task_name = ANY($5::text[])
            AND (lane IN (SELECT unnest($1::integer[]))) IS NOT TRUE
    ) a CROSS JOIN LATERAL (
        SELECT not_before, queue_no FROM zart.queue
        WHERE lane = a.lane AND (not_before, queue_no) >= (a.since, a.since_no)
        ORDER BY not_before, queue_no LIMIT 1) h
    CROSS JOIN LATERAL (SELECT * FROM zart.lanes WHERE lane = a.lane OFFSET 0) l
    WHERE NOT (
            EXISTS (SELECT FROM settling r WHERE true AND r.task_name IS NULL AND step_regex IS NULL)
            OR l.task_name IN (SELECT task_name FROM settling r WHERE true AND r.task_name IS NOT NULL AND step_regex IS NULL)
            OR COALESCE(l.step_name ~ ANY (ARRAY(
                SELECT step_regex
                FROM settling r
                WHERE true
                    AND r.task_name IS NULL
                    AND step_regex IS NOT NULL)), false)
            OR (l.task_name IN (SELECT task_name FROM settling r WHERE true AND r.task_name IS NOT NULL AND step_regex IS NOT NULL)
                    AND COALESCE(l.step_name ~ ANY (ARRAY(
                        SELECT jsonb_array_elements_text((
                            SELECT jsonb_object_agg(task_name, patterns) FROM (
                                SELECT task_name, jsonb_agg(step_regex) AS patterns
                                FROM settling r WHERE true AND r.task_name IS NOT NULL AND step_regex IS NOT NULL
                                GROUP BY task_name) p) -> l.task_name))), false)))
) due ON true;

-- store/due.py: due_lanes (due lanes queue)
-- Return the lanes of these tasks that have queued tasks, due or not.
-- Locks: nothing.
-- Parameters: task_names=$1, marked=$2, marked_times=$3, marked_numbers=$4, since=$5.
WITH settling AS MATERIALIZED (
    SELECT r.* FROM zart.pause_work w CROSS JOIN LATERAL (
        SELECT * FROM zart.pause_rules WHERE rule_key = w.rule_key OFFSET 0) r
    WHERE work = 'settle' AND w.execution_id = '' AND NOT w.of_released
        AND r.deleted_at IS NULL AND r.execution_id IS NULL
        AND NOT EXISTS (
            SELECT FROM zart.pause_exemptions x
            WHERE x.rule_key = r.rule_key AND x.token_until IS NULL OFFSET 0)
)
SELECT statement_timestamp(), EXISTS (SELECT FROM settling), (
    SELECT count(*) > 256 AS yes FROM (
        SELECT FROM zart.lanes WHERE task_name = ANY($1::text[]) LIMIT 256 + 1) l
), due.*
FROM (SELECT) one LEFT JOIN LATERAL (
    SELECT l.lane, l.task_name, l.handler, h.not_before, h.queue_no,
        GREATEST(EXTRACT(epoch FROM h.not_before - statement_timestamp()), 0)::float8
    FROM (
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
        SELECT not_before, queue_no FROM zart.queue
        WHERE lane = a.lane AND (not_before, queue_no) >= (a.since, a.since_no)
        ORDER BY not_before, queue_no LIMIT 1) h
    CROSS JOIN LATERAL (SELECT * FROM zart.lanes WHERE lane = a.lane OFFSET 0) l
    WHERE NOT (
            EXISTS (SELECT FROM settling r WHERE true AND r.task_name IS NULL AND step_regex IS NULL)
            OR l.task_name IN (SELECT task_name FROM settling r WHERE true AND r.task_name IS NOT NULL AND step_regex IS NULL)
            OR COALESCE(l.step_name ~ ANY (ARRAY(
                SELECT step_regex
                FROM settling r
                WHERE true
                    AND r.task_name IS NULL
                    AND step_regex IS NOT NULL)), false)
            OR (l.task_name IN (SELECT task_name FROM settling r WHERE true AND r.task_name IS NOT NULL AND step_regex IS NOT NULL)
                    AND COALESCE(l.step_name ~ ANY (ARRAY(
                        SELECT jsonb_array_elements_text((
                            SELECT jsonb_object_agg(task_name, patterns) FROM (
                                SELECT task_name, jsonb_agg(step_regex) AS patterns
                                FROM settling r WHERE true AND r.task_name IS NOT NULL AND step_regex IS NOT NULL
                                GROUP BY task_name) p) -> l.task_name))), false)))
) due ON true;

-- store/due.py: due_before (due before tasks)
-- Return the lanes that have, between these times, a task that looks from ``begin`` miss.
-- Locks: nothing.
-- Parameters: marked=$1, marked_times=$2, marked_numbers=$3, since=$4, task_names=$5, earliest=$6,
--   before=$7.
WITH found AS MATERIALIZED (
    SELECT a.lane, h.not_before, h.queue_no FROM (
        SELECT lane, since, since_no FROM unnest(
                $1::integer[], $2::timestamptz[], $3::bigint[])
            m(lane, since, since_no)
        UNION ALL
        SELECT lane, COALESCE($4::timestamptz, '-infinity'), 0
        FROM zart.lanes
        WHERE task_name = ANY($5::text[])
            AND (lane IN (SELECT unnest($1::integer[]))) IS NOT TRUE
    ) a CROSS JOIN LATERAL (
        SELECT not_before, queue_no FROM zart.queue
        WHERE lane = a.lane AND (not_before, queue_no) < (a.since, a.since_no)
            AND not_before >= COALESCE($6::timestamptz, '-infinity')
            AND not_before < $7::timestamptz
        ORDER BY not_before, queue_no LIMIT 1) h
), looked AS MATERIALIZED (
    SELECT EXTRACT(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS seconds
    FROM (SELECT count(*) FROM found) f
)
SELECT seconds, f.lane, l.task_name, l.handler, f.not_before, f.queue_no
FROM looked LEFT JOIN (found f CROSS JOIN LATERAL (
    SELECT task_name, handler FROM zart.lanes WHERE lane = f.lane OFFSET 0) l) ON true;

-- store/due.py: due_before (due before queue)
-- Return the lanes that have, between these times, a task that looks from ``begin`` miss.
-- Locks: nothing.
-- Parameters: task_names=$1, marked=$2, marked_times=$3, marked_numbers=$4, since=$5, earliest=$6,
--   before=$7.
WITH found AS MATERIALIZED (
    SELECT a.lane, h.not_before, h.queue_no FROM (
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
        SELECT not_before, queue_no FROM zart.queue
        WHERE lane = a.lane AND (not_before, queue_no) < (a.since, a.since_no)
            AND not_before >= COALESCE($6::timestamptz, '-infinity')
            AND not_before < $7::timestamptz
        ORDER BY not_before, queue_no LIMIT 1) h
), looked AS MATERIALIZED (
    SELECT EXTRACT(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS seconds
    FROM (SELECT count(*) FROM found) f
)
SELECT seconds, f.lane, l.task_name, l.handler, f.not_before, f.queue_no
FROM looked LEFT JOIN (found f CROSS JOIN LATERAL (
    SELECT task_name, handler FROM zart.lanes WHERE lane = f.lane OFFSET 0) l) ON true;

-- store/due.py: are_any_due (are any due tasks)
-- Return whether any task of these lanes is due.
-- Locks: nothing.
-- Parameters: marked=$1, marked_times=$2, marked_numbers=$3, since=$4, task_names=$5.
SELECT statement_timestamp(), EXISTS (SELECT FROM (
    SELECT lane, since, since_no FROM unnest(
            $1::integer[], $2::timestamptz[], $3::bigint[])
        m(lane, since, since_no)
    UNION ALL
    SELECT lane, COALESCE($4::timestamptz, '-infinity'), 0
    FROM zart.lanes
    WHERE task_name = ANY($5::text[])
        AND (lane IN (SELECT unnest($1::integer[]))) IS NOT TRUE
) a CROSS JOIN LATERAL (
    SELECT FROM zart.queue WHERE lane = a.lane AND not_before <= statement_timestamp()
        AND (not_before, queue_no) >= (a.since, a.since_no)
    ORDER BY not_before, queue_no LIMIT 1) h), (SELECT false AS yes);

-- store/due.py: are_any_due (are any due handlers)
-- Return whether any task of these lanes is due.
-- Locks: nothing.
-- Parameters: marked=$1, marked_times=$2, marked_numbers=$3, since=$4, task_names=$5, handlers=$6.
SELECT statement_timestamp(), EXISTS (SELECT FROM (
    SELECT lane, since, since_no FROM unnest(
            $1::integer[], $2::timestamptz[], $3::bigint[])
        m(lane, since, since_no)
    UNION ALL
    SELECT lane, COALESCE($4::timestamptz, '-infinity'), 0
    FROM zart.lanes
    WHERE task_name = ANY($5::text[])
        AND (lane IN (SELECT unnest($1::integer[]))) IS NOT TRUE AND handler = ANY($6::text[])
) a CROSS JOIN LATERAL (
    SELECT FROM zart.queue WHERE lane = a.lane AND not_before <= statement_timestamp()
        AND (not_before, queue_no) >= (a.since, a.since_no)
    ORDER BY not_before, queue_no LIMIT 1) h), (SELECT false AS yes);

-- store/due.py: are_any_due (are any due queue)
-- Return whether any task of these lanes is due.
-- Locks: nothing.
-- Parameters: task_names=$1, marked=$2, marked_times=$3, marked_numbers=$4, since=$5.
SELECT statement_timestamp(), EXISTS (SELECT FROM (
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
    SELECT FROM zart.queue WHERE lane = a.lane AND not_before <= statement_timestamp()
        AND (not_before, queue_no) >= (a.since, a.since_no)
    ORDER BY not_before, queue_no LIMIT 1) h), (
        SELECT count(*) > 256 AS yes FROM (
            SELECT FROM zart.lanes WHERE task_name = ANY($1::text[]) LIMIT 256 + 1) l
    );
