-- store/pausing/counting.py: undrained_rules
-- Return what is in flight of each rule that is not known to be drained; locks nothing.
-- Locks: nothing.
WITH rules AS MATERIALIZED (
    SELECT r.*, d.undrained
    FROM (SELECT rule_key, undrained FROM zart.pause_drains WHERE drained_at IS NULL) d
    CROSS JOIN LATERAL (
        SELECT rule_key, execution_id, task_name, step_regex, deleted_at
        FROM zart.pause_rules WHERE rule_key = d.rule_key OFFSET 0) r
), leased AS MATERIALIZED (
    SELECT l.task_name, t.* FROM (
        SELECT lane, step_name, count(*) AS n, count(*) FILTER (WHERE lease_expires_at - statement_timestamp() < lease_seconds / 2 * interval '1 second') AS silent,
            max(lease_expires_at) FILTER (WHERE lease_expires_at - statement_timestamp() < lease_seconds / 2 * interval '1 second') AS silent_until
        FROM zart.leases GROUP BY lane, step_name) t
    CROSS JOIN LATERAL (
        SELECT task_name FROM zart.lanes WHERE lane = t.lane OFFSET 0) l
), by_task AS MATERIALIZED (
    SELECT jsonb_object_agg(task_name, groups) AS groups FROM (
        SELECT task_name,
            jsonb_agg(jsonb_build_array(step_name, n, silent, silent_until)) AS groups
        FROM leased
        -- Not a join, which would compare each pair.
        WHERE (task_name IN (SELECT task_name FROM rules)) IS TRUE
        GROUP BY task_name) t
)
SELECT r.rule_key, r.deleted_at IS NOT NULL, r.undrained, COALESCE(c.n, 0)::bigint,
    COALESCE(c.silent, 0)::bigint, c.silent_until, CASE WHEN COALESCE(c.n, 0) > 0 THEN false
    ELSE EXISTS (
        SELECT FROM zart.pause_releases p
        WHERE p.rule_key = r.rule_key AND p.ended_at IS NULL OFFSET 0)
    OR EXISTS (
        SELECT FROM zart.released_steps s CROSS JOIN LATERAL (
            SELECT attempt FROM zart.queue
            WHERE run_key = s.run_key AND step_no = s.step_no OFFSET 0) q
        WHERE s.rule_key = r.rule_key AND COALESCE(s.token_until, -1) = -1 AND q.attempt = s.attempt
            AND NOT EXISTS (
                SELECT FROM zart.pause_exemptions x
                WHERE x.rule_key = r.rule_key AND x.execution_id = (
                    SELECT execution_id FROM zart.executions WHERE execution_key = (
                        SELECT execution_key FROM zart.runs WHERE run_key = s.run_key)) AND x.token_until IS NULL
                OFFSET 0)
        OFFSET 0) END
FROM rules r CROSS JOIN LATERAL (
    SELECT sum(n) AS n, sum(silent) AS silent, max(silent_until) AS silent_until FROM (
        SELECT n, silent, silent_until FROM leased g
        WHERE r.execution_id IS NULL AND r.task_name IS NULL
            AND (r.step_regex IS NULL OR g.step_name ~ r.step_regex)
        UNION ALL
        SELECT (g ->> 1)::bigint, (g ->> 2)::bigint, (g ->> 3)::timestamptz
        FROM jsonb_array_elements((SELECT groups FROM by_task) -> r.task_name) g
        WHERE r.execution_id IS NULL AND r.task_name IS NOT NULL
            AND (r.step_regex IS NULL OR (g ->> 0) ~ r.step_regex)
        UNION ALL
        SELECT count(*) AS n, count(*) FILTER (WHERE lease_expires_at - statement_timestamp() < lease_seconds / 2 * interval '1 second') AS silent,
            max(lease_expires_at) FILTER (WHERE lease_expires_at - statement_timestamp() < lease_seconds / 2 * interval '1 second') AS silent_until
        FROM (
            SELECT l.run_key, e.task_name FROM (
                SELECT execution_key, task_name FROM zart.executions
                WHERE execution_id = r.execution_id OFFSET 0) e
            CROSS JOIN LATERAL (
                SELECT run_key, status FROM zart.runs WHERE execution_key = e.execution_key
                ORDER BY run_number DESC LIMIT 1) l
            WHERE l.status IN ('scheduled', 'running')
        ) u CROSS JOIN LATERAL (
            SELECT * FROM zart.leases WHERE run_key = u.run_key OFFSET 0) t
        WHERE (r.task_name IS NULL OR r.task_name = u.task_name)
            AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
        UNION ALL
        SELECT -n, -silent, NULL FROM (
            SELECT count(*) AS n, count(*) FILTER (WHERE lease_expires_at - statement_timestamp() < lease_seconds / 2 * interval '1 second') AS silent,
                max(lease_expires_at) FILTER (WHERE lease_expires_at - statement_timestamp() < lease_seconds / 2 * interval '1 second') AS silent_until
            FROM zart.pause_exemptions x
            CROSS JOIN LATERAL (
                SELECT l.run_key, e.task_name FROM (
                    SELECT execution_key, task_name FROM zart.executions
                    WHERE execution_id = x.execution_id OFFSET 0) e
                CROSS JOIN LATERAL (
                    SELECT run_key, status FROM zart.runs WHERE execution_key = e.execution_key
                    ORDER BY run_number DESC LIMIT 1) l
                WHERE l.status IN ('scheduled', 'running')
            ) u
            CROSS JOIN LATERAL (SELECT * FROM zart.leases WHERE run_key = u.run_key OFFSET 0) t
            WHERE x.rule_key = r.rule_key AND x.token_until IS NULL
                AND (r.execution_id IS NULL OR r.execution_id = x.execution_id)
                AND (r.task_name IS NULL OR r.task_name = u.task_name)
                AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
        ) e) s) c;

-- store/pausing/counting.py: in_flight
-- Return what is in flight of rules, as of now; locks nothing.
-- Locks: nothing.
-- Parameters: rule_keys=$1.
WITH rules AS MATERIALIZED (
    SELECT r.*, d.undrained
    FROM (SELECT rule_key, undrained FROM zart.pause_drains WHERE rule_key = ANY($1::bigint[])) d
    CROSS JOIN LATERAL (
        SELECT rule_key, execution_id, task_name, step_regex, deleted_at
        FROM zart.pause_rules WHERE rule_key = d.rule_key OFFSET 0) r
), leased AS MATERIALIZED (
    SELECT l.task_name, t.* FROM (
        SELECT lane, step_name, count(*) AS n, count(*) FILTER (WHERE lease_expires_at - statement_timestamp() < lease_seconds / 2 * interval '1 second') AS silent,
            max(lease_expires_at) FILTER (WHERE lease_expires_at - statement_timestamp() < lease_seconds / 2 * interval '1 second') AS silent_until
        FROM zart.leases GROUP BY lane, step_name) t
    CROSS JOIN LATERAL (
        SELECT task_name FROM zart.lanes WHERE lane = t.lane OFFSET 0) l
), by_task AS MATERIALIZED (
    SELECT jsonb_object_agg(task_name, groups) AS groups FROM (
        SELECT task_name,
            jsonb_agg(jsonb_build_array(step_name, n, silent, silent_until)) AS groups
        FROM leased
        -- Not a join, which would compare each pair.
        WHERE (task_name IN (SELECT task_name FROM rules)) IS TRUE
        GROUP BY task_name) t
)
SELECT r.rule_key, r.deleted_at IS NOT NULL, r.undrained, COALESCE(c.n, 0)::bigint,
    COALESCE(c.silent, 0)::bigint, c.silent_until, CASE WHEN COALESCE(c.n, 0) > 0 THEN false
    ELSE EXISTS (
        SELECT FROM zart.pause_releases p
        WHERE p.rule_key = r.rule_key AND p.ended_at IS NULL OFFSET 0)
    OR EXISTS (
        SELECT FROM zart.released_steps s CROSS JOIN LATERAL (
            SELECT attempt FROM zart.queue
            WHERE run_key = s.run_key AND step_no = s.step_no OFFSET 0) q
        WHERE s.rule_key = r.rule_key AND COALESCE(s.token_until, -1) = -1 AND q.attempt = s.attempt
            AND NOT EXISTS (
                SELECT FROM zart.pause_exemptions x
                WHERE x.rule_key = r.rule_key AND x.execution_id = (
                    SELECT execution_id FROM zart.executions WHERE execution_key = (
                        SELECT execution_key FROM zart.runs WHERE run_key = s.run_key)) AND x.token_until IS NULL
                OFFSET 0)
        OFFSET 0) END
FROM rules r CROSS JOIN LATERAL (
    SELECT sum(n) AS n, sum(silent) AS silent, max(silent_until) AS silent_until FROM (
        SELECT n, silent, silent_until FROM leased g
        WHERE r.execution_id IS NULL AND r.task_name IS NULL
            AND (r.step_regex IS NULL OR g.step_name ~ r.step_regex)
        UNION ALL
        SELECT (g ->> 1)::bigint, (g ->> 2)::bigint, (g ->> 3)::timestamptz
        FROM jsonb_array_elements((SELECT groups FROM by_task) -> r.task_name) g
        WHERE r.execution_id IS NULL AND r.task_name IS NOT NULL
            AND (r.step_regex IS NULL OR (g ->> 0) ~ r.step_regex)
        UNION ALL
        SELECT count(*) AS n, count(*) FILTER (WHERE lease_expires_at - statement_timestamp() < lease_seconds / 2 * interval '1 second') AS silent,
            max(lease_expires_at) FILTER (WHERE lease_expires_at - statement_timestamp() < lease_seconds / 2 * interval '1 second') AS silent_until
        FROM (
            SELECT l.run_key, e.task_name FROM (
                SELECT execution_key, task_name FROM zart.executions
                WHERE execution_id = r.execution_id OFFSET 0) e
            CROSS JOIN LATERAL (
                SELECT run_key, status FROM zart.runs WHERE execution_key = e.execution_key
                ORDER BY run_number DESC LIMIT 1) l
            WHERE l.status IN ('scheduled', 'running')
        ) u CROSS JOIN LATERAL (
            SELECT * FROM zart.leases WHERE run_key = u.run_key OFFSET 0) t
        WHERE (r.task_name IS NULL OR r.task_name = u.task_name)
            AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
        UNION ALL
        SELECT -n, -silent, NULL FROM (
            SELECT count(*) AS n, count(*) FILTER (WHERE lease_expires_at - statement_timestamp() < lease_seconds / 2 * interval '1 second') AS silent,
                max(lease_expires_at) FILTER (WHERE lease_expires_at - statement_timestamp() < lease_seconds / 2 * interval '1 second') AS silent_until
            FROM zart.pause_exemptions x
            CROSS JOIN LATERAL (
                SELECT l.run_key, e.task_name FROM (
                    SELECT execution_key, task_name FROM zart.executions
                    WHERE execution_id = x.execution_id OFFSET 0) e
                CROSS JOIN LATERAL (
                    SELECT run_key, status FROM zart.runs WHERE execution_key = e.execution_key
                    ORDER BY run_number DESC LIMIT 1) l
                WHERE l.status IN ('scheduled', 'running')
            ) u
            CROSS JOIN LATERAL (SELECT * FROM zart.leases WHERE run_key = u.run_key OFFSET 0) t
            WHERE x.rule_key = r.rule_key AND x.token_until IS NULL
                AND (r.execution_id IS NULL OR r.execution_id = x.execution_id)
                AND (r.task_name IS NULL OR r.task_name = u.task_name)
                AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
        ) e) s) c;

-- store/pausing/counting.py: withheld_steps
-- Count the ready steps that active rules withhold, each by itself; locks nothing.
-- Locks: nothing.
-- Parameters: rule_keys=$1, most=$2, looked_at=$3.
SELECT r.rule_key, c.n - r.exempt, c.n = r.most OR (r.is_settling AND EXISTS (
    SELECT FROM (
        SELECT t.* FROM (
            SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
            UNION ALL SELECT lane, task_name, step_name
            FROM zart.lanes
            WHERE r.task_name IS NULL) l
        CROSS JOIN LATERAL (
            SELECT lane FROM zart.queue WHERE lane = l.lane
            ORDER BY not_before, queue_no LIMIT r.looked_at + 1) t
        WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
            AND
            (r.task_name IS NULL OR r.task_name = l.task_name)
            AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
        LIMIT r.looked_at + 1
    ) t OFFSET r.looked_at)
        OR EXISTS (
            SELECT FROM (
                SELECT t.* FROM (
                    SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
                    UNION ALL SELECT lane, task_name, step_name
                    FROM zart.lanes
                    WHERE r.task_name IS NULL) l
                CROSS JOIN LATERAL (
                    SELECT lane FROM zart.held WHERE lane = l.lane
                    ORDER BY not_before, queue_no LIMIT r.looked_at + 1) t
                WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
                    AND
                    (r.task_name IS NULL OR r.task_name = l.task_name)
                    AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
                LIMIT r.looked_at + 1
            ) t OFFSET r.looked_at))
FROM unnest($1::bigint[]) k(rule_key) CROSS JOIN LATERAL (
    SELECT r.*, e.n AS exempt, e.n + $2::bigint AS most,
        greatest(e.n + $2, $3::bigint) AS looked_at
    FROM (
        SELECT *, EXISTS (
            SELECT FROM zart.pause_work w
            WHERE w.rule_key = pause_rules.rule_key AND work = 'settle' OFFSET 0) AS is_settling, EXISTS (
                SELECT FROM zart.released_steps s
                WHERE s.rule_key = pause_rules.rule_key
                    AND COALESCE(s.token_until, -1) = -1 OFFSET 0) AS is_letting_go,
            EXISTS (
                SELECT FROM zart.pause_exemptions x
                WHERE x.rule_key = pause_rules.rule_key AND x.token_until IS NULL OFFSET 0) AS is_exempting
        FROM zart.pause_rules WHERE rule_key = k.rule_key OFFSET 0) r
    CROSS JOIN LATERAL (
        SELECT count(*) FROM zart.pause_exemptions x
        CROSS JOIN LATERAL (
            SELECT l.run_key, e.task_name FROM (
                SELECT execution_key, task_name FROM zart.executions
                WHERE execution_id = x.execution_id OFFSET 0) e
            CROSS JOIN LATERAL (
                SELECT run_key, status FROM zart.runs WHERE execution_key = e.execution_key
                ORDER BY run_number DESC LIMIT 1) l
            WHERE l.status IN ('scheduled', 'running')
        ) u
        CROSS JOIN LATERAL (SELECT run_key, step_no, step_name, attempt, lane FROM zart.queue WHERE run_key = u.run_key AND r.is_settling UNION ALL SELECT run_key, step_no, step_name, attempt, lane FROM zart.held WHERE run_key = u.run_key OFFSET 0) t
        WHERE x.rule_key = r.rule_key AND x.token_until IS NULL
            AND (r.execution_id IS NULL OR r.execution_id = x.execution_id)
            AND (r.task_name IS NULL OR r.task_name = u.task_name)
            AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex)
            AND (NOT r.is_letting_go OR (
                SELECT true FROM zart.released_steps s
                WHERE s.run_key = t.run_key AND s.step_no = t.step_no AND s.attempt = t.attempt
                    AND s.rule_key = r.rule_key
                    AND s.token_until IS NULL) IS NULL)
            AND (r.step_regex IS NULL OR r.execution_id IS NOT NULL OR (
                SELECT step_name FROM zart.lanes WHERE lanes.lane = t.lane) IS NOT NULL)) e(n) OFFSET 0) r
CROSS JOIN LATERAL (
    SELECT count(*) AS n FROM (SELECT FROM (SELECT q.* FROM (
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
                AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex) AND (NOT r.is_letting_go OR (
                    SELECT true FROM zart.released_steps s
                    WHERE s.run_key = t.run_key AND s.step_no = t.step_no AND s.attempt = t.attempt
                        AND s.rule_key = r.rule_key AND s.token_until IS NULL) IS NULL)
            LIMIT r.most)
        UNION ALL
        (SELECT m.* FROM (
            SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
            UNION ALL SELECT lane, task_name, step_name
            FROM zart.lanes
            WHERE r.task_name IS NULL) l
            CROSS JOIN LATERAL (
                SELECT run_key, step_no, attempt, step_name
                FROM zart.queue t
                WHERE t.lane = l.lane
                    AND (NOT r.is_letting_go OR (
                        SELECT true FROM zart.released_steps s
                        WHERE s.run_key = t.run_key AND s.step_no = t.step_no AND s.attempt = t.attempt
                            AND s.rule_key = r.rule_key AND s.token_until IS NULL) IS NULL)
                ORDER BY t.not_before, t.queue_no LIMIT r.most) m
            WHERE r.execution_id IS NULL AND (r.step_regex IS NULL OR l.step_name IS NOT NULL)
                AND
                (r.task_name IS NULL OR r.task_name = l.task_name)
                AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
            LIMIT r.most)
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
                    ORDER BY not_before, queue_no LIMIT r.looked_at) t
                WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
                    AND
                    (r.task_name IS NULL OR r.task_name = l.task_name)
                    AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
                LIMIT r.looked_at
            ) t
            WHERE t.step_name ~ r.step_regex AND (NOT r.is_letting_go OR (
                SELECT true FROM zart.released_steps s
                WHERE s.run_key = t.run_key AND s.step_no = t.step_no AND s.attempt = t.attempt
                    AND s.rule_key = r.rule_key
                    AND s.token_until IS NULL) IS NULL)
                AND NOT (r.is_exempting
                        AND EXISTS (
                            SELECT FROM zart.pause_exemptions x
                            WHERE x.rule_key = r.rule_key AND x.execution_id = (
                                SELECT execution_id FROM zart.executions WHERE execution_key = (
                                    SELECT execution_key FROM zart.runs WHERE run_key = t.run_key)) AND x.token_until IS NULL
                            OFFSET 0))
            LIMIT r.most)
    ) q WHERE r.is_settling UNION ALL
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
                AND (r.step_regex IS NULL OR t.step_name ~ r.step_regex) AND (NOT r.is_letting_go OR (
                    SELECT true FROM zart.released_steps s
                    WHERE s.run_key = t.run_key AND s.step_no = t.step_no AND s.attempt = t.attempt
                        AND s.rule_key = r.rule_key AND s.token_until IS NULL) IS NULL)
            LIMIT r.most)
        UNION ALL
        (SELECT m.* FROM (
            SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
            UNION ALL SELECT lane, task_name, step_name
            FROM zart.lanes
            WHERE r.task_name IS NULL) l
            CROSS JOIN LATERAL (
                SELECT run_key, step_no, attempt, step_name
                FROM zart.held t
                WHERE t.lane = l.lane
                    AND (NOT r.is_letting_go OR (
                        SELECT true FROM zart.released_steps s
                        WHERE s.run_key = t.run_key AND s.step_no = t.step_no AND s.attempt = t.attempt
                            AND s.rule_key = r.rule_key AND s.token_until IS NULL) IS NULL)
                ORDER BY t.not_before, t.queue_no LIMIT r.most) m
            WHERE r.execution_id IS NULL AND (r.step_regex IS NULL OR l.step_name IS NOT NULL)
                AND
                (r.task_name IS NULL OR r.task_name = l.task_name)
                AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
            LIMIT r.most)
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
                    ORDER BY not_before, queue_no LIMIT r.looked_at) t
                WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
                    AND
                    (r.task_name IS NULL OR r.task_name = l.task_name)
                    AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
                LIMIT r.looked_at
            ) t
            WHERE t.step_name ~ r.step_regex AND (NOT r.is_letting_go OR (
                SELECT true FROM zart.released_steps s
                WHERE s.run_key = t.run_key AND s.step_no = t.step_no AND s.attempt = t.attempt
                    AND s.rule_key = r.rule_key
                    AND s.token_until IS NULL) IS NULL)
                AND NOT (r.is_exempting
                        AND EXISTS (
                            SELECT FROM zart.pause_exemptions x
                            WHERE x.rule_key = r.rule_key AND x.execution_id = (
                                SELECT execution_id FROM zart.executions WHERE execution_key = (
                                    SELECT execution_key FROM zart.runs WHERE run_key = t.run_key)) AND x.token_until IS NULL
                            OFFSET 0))
            LIMIT r.most)
    ) t LIMIT r.most) t OFFSET 0) c;
