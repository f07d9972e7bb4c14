-- store/reads/blast_radius.py: count_matched_now
-- Count the ready steps that a scope matches, up to ``limit``, and those in flight.
-- Locks: nothing.
-- Parameters: limit=$1, looked_at=$2, execution_id=$3, task_name=$4, regex=$5.
SELECT c.ready, c.ready = $1::bigint OR EXISTS (
    SELECT FROM (
        SELECT t.* FROM (
            SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
            UNION ALL SELECT lane, task_name, step_name
            FROM zart.lanes
            WHERE r.task_name IS NULL) l
        CROSS JOIN LATERAL (
            SELECT lane FROM zart.queue WHERE lane = l.lane
            ORDER BY not_before, queue_no LIMIT $2::bigint + 1) t
        WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
            AND
            (r.task_name IS NULL OR r.task_name = l.task_name)
            AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
        LIMIT $2::bigint + 1
    ) t OFFSET $2::bigint)
    OR EXISTS (
        SELECT FROM (
            SELECT t.* FROM (
                SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
                UNION ALL SELECT lane, task_name, step_name
                FROM zart.lanes
                WHERE r.task_name IS NULL) l
            CROSS JOIN LATERAL (
                SELECT lane FROM zart.held WHERE lane = l.lane
                ORDER BY not_before, queue_no LIMIT $2::bigint + 1) t
            WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
                AND
                (r.task_name IS NULL OR r.task_name = l.task_name)
                AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
            LIMIT $2::bigint + 1
        ) t OFFSET $2::bigint),
    CASE WHEN r.execution_id IS NULL THEN (
        SELECT COALESCE(sum(t.n), 0)::bigint FROM (
            SELECT lane, step_name, count(*) AS n FROM zart.leases GROUP BY lane, step_name) t
        CROSS JOIN LATERAL (SELECT * FROM zart.lanes WHERE lane = t.lane OFFSET 0) l
        WHERE
            (r.task_name IS NULL OR r.task_name = l.task_name)
            AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
            AND (r.step_regex IS NULL OR l.step_name IS NOT NULL OR t.step_name ~ r.step_regex)
    ) ELSE (
        SELECT count(*) FROM (
            SELECT l.run_key, e.task_name FROM (
                SELECT execution_key, task_name FROM zart.executions
                WHERE execution_id = r.execution_id OFFSET 0) e
            CROSS JOIN LATERAL (
                SELECT run_key, status FROM zart.runs WHERE execution_key = e.execution_key
                ORDER BY run_number DESC LIMIT 1) l
            WHERE l.status IN ('scheduled', 'running')
        ) u CROSS JOIN LATERAL (
            SELECT step_name FROM zart.leases WHERE run_key = u.run_key OFFSET 0) t
        WHERE (r.task_name IS NULL OR r.task_name = u.task_name)
            AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
    ) END,
    CASE WHEN r.execution_id IS NULL THEN (
        SELECT min(o.not_before) FROM (
            SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
            UNION ALL SELECT lane, task_name, step_name
            FROM zart.lanes
            WHERE r.task_name IS NULL) l
        CROSS JOIN LATERAL (
            (SELECT t.not_before FROM (
                SELECT not_before, queue_no, step_name FROM zart.queue WHERE lane = l.lane
                ORDER BY not_before, queue_no LIMIT $2::bigint) t
                WHERE (r.step_regex IS NULL OR l.step_name IS NOT NULL OR t.step_name ~ r.step_regex)
                ORDER BY t.not_before, t.queue_no LIMIT 1) UNION ALL (SELECT t.not_before FROM (
                    SELECT not_before, queue_no, step_name FROM zart.held WHERE lane = l.lane
                    ORDER BY not_before, queue_no LIMIT $2::bigint) t
                    WHERE (r.step_regex IS NULL OR l.step_name IS NOT NULL OR t.step_name ~ r.step_regex)
                    ORDER BY t.not_before, t.queue_no LIMIT 1)) o
        WHERE
            (r.task_name IS NULL OR r.task_name = l.task_name)
            AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
    )
    ELSE (SELECT min(o.not_before) FROM (
        SELECT t.not_before FROM (
            SELECT l.run_key, e.task_name FROM (
                SELECT execution_key, task_name FROM zart.executions
                WHERE execution_id = r.execution_id OFFSET 0) e
            CROSS JOIN LATERAL (
                SELECT run_key, status FROM zart.runs WHERE execution_key = e.execution_key
                ORDER BY run_number DESC LIMIT 1) l
            WHERE l.status IN ('scheduled', 'running')
        ) u CROSS JOIN LATERAL (
            SELECT not_before, step_name FROM zart.queue WHERE run_key = u.run_key OFFSET 0) t
        WHERE (r.task_name IS NULL OR r.task_name = u.task_name)
            AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex) UNION ALL SELECT t.not_before FROM (
                SELECT l.run_key, e.task_name FROM (
                    SELECT execution_key, task_name FROM zart.executions
                    WHERE execution_id = r.execution_id OFFSET 0) e
                CROSS JOIN LATERAL (
                    SELECT run_key, status FROM zart.runs WHERE execution_key = e.execution_key
                    ORDER BY run_number DESC LIMIT 1) l
                WHERE l.status IN ('scheduled', 'running')
            ) u CROSS JOIN LATERAL (
                SELECT not_before, step_name FROM zart.held WHERE run_key = u.run_key OFFSET 0) t
        WHERE (r.task_name IS NULL OR r.task_name = u.task_name)
            AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)) o) END
FROM (SELECT $3::text AS execution_id, $4::text AS task_name,
        $5::text AS step_regex OFFSET 0) r
CROSS JOIN LATERAL (
    SELECT count(*) AS ready FROM (
        SELECT FROM (
            (SELECT t.run_key, t.step_no, t.attempt, t.step_name
                FROM (
                    SELECT l.run_key, e.task_name FROM (
                        SELECT execution_key, task_name FROM zart.executions
                        WHERE execution_id = r.execution_id OFFSET 0) e
                    CROSS JOIN LATERAL (
                        SELECT run_key, status FROM zart.runs WHERE execution_key = e.execution_key
                        ORDER BY run_number DESC LIMIT 1) l
                    WHERE l.status IN ('scheduled', 'running')
                ) u CROSS JOIN LATERAL (
                    SELECT run_key, step_no, attempt, step_name FROM zart.queue
                    WHERE run_key = u.run_key OFFSET 0) t
                WHERE (r.task_name IS NULL OR r.task_name = u.task_name)
                    AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
                LIMIT $1)
            UNION ALL
            (SELECT m.* FROM (
                SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
                UNION ALL SELECT lane, task_name, step_name
                FROM zart.lanes
                WHERE r.task_name IS NULL) l
                CROSS JOIN LATERAL (
                    SELECT run_key, step_no, attempt, step_name FROM zart.queue t WHERE t.lane = l.lane
                    ORDER BY t.not_before, t.queue_no LIMIT $1) m
                WHERE r.execution_id IS NULL AND (r.step_regex IS NULL OR l.step_name IS NOT NULL)
                    AND
                    (r.task_name IS NULL OR r.task_name = l.task_name)
                    AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
                LIMIT $1)
            UNION ALL
            (SELECT t.run_key, t.step_no, t.attempt, t.step_name
                FROM (
                    SELECT t.* FROM (
                        SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
                        UNION ALL SELECT lane, task_name, step_name
                        FROM zart.lanes
                        WHERE r.task_name IS NULL) l
                    CROSS JOIN LATERAL (
                        SELECT run_key, step_no, attempt, step_name FROM zart.queue WHERE lane = l.lane
                        ORDER BY not_before, queue_no LIMIT $2::bigint) t
                    WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
                        AND
                        (r.task_name IS NULL OR r.task_name = l.task_name)
                        AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
                    LIMIT $2::bigint
                ) t
                WHERE t.step_name ~ r.step_regex
                LIMIT $1)
            UNION ALL
            (SELECT t.run_key, t.step_no, t.attempt, t.step_name
                FROM (
                    SELECT l.run_key, e.task_name FROM (
                        SELECT execution_key, task_name FROM zart.executions
                        WHERE execution_id = r.execution_id OFFSET 0) e
                    CROSS JOIN LATERAL (
                        SELECT run_key, status FROM zart.runs WHERE execution_key = e.execution_key
                        ORDER BY run_number DESC LIMIT 1) l
                    WHERE l.status IN ('scheduled', 'running')
                ) u CROSS JOIN LATERAL (
                    SELECT run_key, step_no, attempt, step_name FROM zart.held
                    WHERE run_key = u.run_key OFFSET 0) t
                WHERE (r.task_name IS NULL OR r.task_name = u.task_name)
                    AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
                LIMIT $1)
            UNION ALL
            (SELECT m.* FROM (
                SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
                UNION ALL SELECT lane, task_name, step_name
                FROM zart.lanes
                WHERE r.task_name IS NULL) l
                CROSS JOIN LATERAL (
                    SELECT run_key, step_no, attempt, step_name FROM zart.held t WHERE t.lane = l.lane
                    ORDER BY t.not_before, t.queue_no LIMIT $1) m
                WHERE r.execution_id IS NULL AND (r.step_regex IS NULL OR l.step_name IS NOT NULL)
                    AND
                    (r.task_name IS NULL OR r.task_name = l.task_name)
                    AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
                LIMIT $1)
            UNION ALL
            (SELECT t.run_key, t.step_no, t.attempt, t.step_name
                FROM (
                    SELECT t.* FROM (
                        SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
                        UNION ALL SELECT lane, task_name, step_name
                        FROM zart.lanes
                        WHERE r.task_name IS NULL) l
                    CROSS JOIN LATERAL (
                        SELECT run_key, step_no, attempt, step_name FROM zart.held WHERE lane = l.lane
                        ORDER BY not_before, queue_no LIMIT $2::bigint) t
                    WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
                        AND
                        (r.task_name IS NULL OR r.task_name = l.task_name)
                        AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
                    LIMIT $2::bigint
                ) t
                WHERE t.step_name ~ r.step_regex
                LIMIT $1)
        ) t
        LIMIT $1) t OFFSET 0) c;

-- store/reads/blast_radius.py: find_to_run
-- Return the keys of executions that have a matching step still to run, of these runs.
-- Locks: nothing.
-- Parameters: run_keys=$1, regex=$2.
WITH page AS MATERIALIZED (
    SELECT u.n, r.* FROM unnest($1::bigint[]) WITH ORDINALITY u(key, n)
    CROSS JOIN LATERAL (
        SELECT run_key, execution_key, definition_key FROM zart.runs
        WHERE run_key = u.key OFFSET 0) r
), matching AS MATERIALIZED (
    SELECT p.definition_key, array_agg(s.no::integer - 1) AS numbers
    FROM (SELECT DISTINCT definition_key FROM page) p
    CROSS JOIN LATERAL (
        SELECT step_names FROM zart.definitions
        WHERE definition_key = p.definition_key OFFSET 0) d
    CROSS JOIN LATERAL unnest(d.step_names) WITH ORDINALITY s(name, no)
    WHERE $2::text IS NULL OR s.name ~ $2
    GROUP BY p.definition_key
)
SELECT p.execution_key FROM page p JOIN matching m USING (definition_key)
WHERE EXISTS (
    SELECT FROM unnest(m.numbers) i(step_no) CROSS JOIN LATERAL (
        SELECT status FROM zart.steps
        WHERE steps.run_key = p.run_key AND steps.step_no = i.step_no OFFSET 0) s
    WHERE s.status = 'open')
ORDER BY p.n;

-- store/reads/blast_radius.py: ids_of_executions
-- Return the ids of executions, in order.
-- Locks: nothing.
SELECT e.execution_id
FROM unnest($1::bigint[]) WITH ORDINALITY u(key, n)
CROSS JOIN LATERAL (SELECT execution_id FROM zart.executions WHERE execution_key = u.key OFFSET 0) e
ORDER BY n;
