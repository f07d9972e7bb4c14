-- store/pausing/matching.py: count_matching
-- Count what a rule matches, ready steps up to ``limit``; None: there is no such rule.
-- Locks: nothing.
SELECT r.rule_key, r.execution_id IS NOT NULL, f.ready,
    f.ready = $2 OR EXISTS (
        SELECT FROM (
            SELECT t.* FROM (
                SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
                UNION ALL SELECT lane, task_name, step_name
                FROM zart.lanes
                WHERE r.task_name IS NULL) l
            CROSS JOIN LATERAL (
                SELECT lane FROM zart.queue WHERE lane = l.lane
                ORDER BY not_before, queue_no LIMIT $3 + 1) t
            WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
                AND
                (r.task_name IS NULL OR r.task_name = l.task_name)
                AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
            LIMIT $3 + 1
        ) t OFFSET $3) OR EXISTS (
            SELECT FROM (
                SELECT t.* FROM (
                    SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
                    UNION ALL SELECT lane, task_name, step_name
                    FROM zart.lanes
                    WHERE r.task_name IS NULL) l
                CROSS JOIN LATERAL (
                    SELECT lane FROM zart.held WHERE lane = l.lane
                    ORDER BY not_before, queue_no LIMIT $3 + 1) t
                WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
                    AND
                    (r.task_name IS NULL OR r.task_name = l.task_name)
                    AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
                LIMIT $3 + 1
            ) t OFFSET $3),
    EXISTS (SELECT FROM (
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
            LIMIT 1)
        UNION ALL
        (SELECT m.* FROM (
            SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
            UNION ALL SELECT lane, task_name, step_name
            FROM zart.lanes
            WHERE r.task_name IS NULL) l
            CROSS JOIN LATERAL (
                SELECT run_key, step_no, attempt, step_name FROM zart.queue t WHERE t.lane = l.lane
                ORDER BY t.not_before, t.queue_no LIMIT 1) m
            WHERE r.execution_id IS NULL AND (r.step_regex IS NULL OR l.step_name IS NOT NULL)
                AND
                (r.task_name IS NULL OR r.task_name = l.task_name)
                AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
            LIMIT 1)
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
                    ORDER BY not_before, queue_no LIMIT $3) t
                WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
                    AND
                    (r.task_name IS NULL OR r.task_name = l.task_name)
                    AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
                LIMIT $3
            ) t
            WHERE t.step_name ~ r.step_regex
            LIMIT 1)
    ) q)
    OR EXISTS (
        SELECT FROM (
            SELECT t.* FROM (
                SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
                UNION ALL SELECT lane, task_name, step_name
                FROM zart.lanes
                WHERE r.task_name IS NULL) l
            CROSS JOIN LATERAL (
                SELECT lane FROM zart.queue WHERE lane = l.lane
                ORDER BY not_before, queue_no LIMIT $3 + 1) t
            WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
                AND
                (r.task_name IS NULL OR r.task_name = l.task_name)
                AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
            LIMIT $3 + 1
        ) t OFFSET $3),
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
    ) END
FROM zart.pause_rules r CROSS JOIN LATERAL (
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
                LIMIT $2)
            UNION ALL
            (SELECT m.* FROM (
                SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
                UNION ALL SELECT lane, task_name, step_name
                FROM zart.lanes
                WHERE r.task_name IS NULL) l
                CROSS JOIN LATERAL (
                    SELECT run_key, step_no, attempt, step_name FROM zart.queue t WHERE t.lane = l.lane
                    ORDER BY t.not_before, t.queue_no LIMIT $2) m
                WHERE r.execution_id IS NULL AND (r.step_regex IS NULL OR l.step_name IS NOT NULL)
                    AND
                    (r.task_name IS NULL OR r.task_name = l.task_name)
                    AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
                LIMIT $2)
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
                        ORDER BY not_before, queue_no LIMIT $3) t
                    WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
                        AND
                        (r.task_name IS NULL OR r.task_name = l.task_name)
                        AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
                    LIMIT $3
                ) t
                WHERE t.step_name ~ r.step_regex
                LIMIT $2)
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
                LIMIT $2)
            UNION ALL
            (SELECT m.* FROM (
                SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
                UNION ALL SELECT lane, task_name, step_name
                FROM zart.lanes
                WHERE r.task_name IS NULL) l
                CROSS JOIN LATERAL (
                    SELECT run_key, step_no, attempt, step_name FROM zart.held t WHERE t.lane = l.lane
                    ORDER BY t.not_before, t.queue_no LIMIT $2) m
                WHERE r.execution_id IS NULL AND (r.step_regex IS NULL OR l.step_name IS NOT NULL)
                    AND
                    (r.task_name IS NULL OR r.task_name = l.task_name)
                    AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
                LIMIT $2)
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
                        ORDER BY not_before, queue_no LIMIT $3) t
                    WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
                        AND
                        (r.task_name IS NULL OR r.task_name = l.task_name)
                        AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
                    LIMIT $3
                ) t
                WHERE t.step_name ~ r.step_regex
                LIMIT $2)
        ) t
        LIMIT $2) t OFFSET 0) f
WHERE r.rule_id = $1;

-- store/pausing/matching.py: find_matching
-- Return up to ``limit`` ready steps that any of some rules withholds.
-- Locks: nothing.
-- Parameters: rule_keys=$1, limit=$2, looked_at=$3.
WITH rules AS MATERIALIZED (
    SELECT *, EXISTS (
        SELECT FROM zart.pause_work w
        WHERE w.rule_key = pause_rules.rule_key AND work = 'settle' OFFSET 0) AS is_settling, EXISTS (
            SELECT FROM zart.released_steps s
            WHERE s.rule_key = pause_rules.rule_key
                AND COALESCE(s.token_until, -1) = -1 OFFSET 0) AS is_letting_go,
        EXISTS (
            SELECT FROM zart.pause_exemptions x
            WHERE x.rule_key = pause_rules.rule_key AND x.token_until IS NULL OFFSET 0) AS is_exempting
    FROM zart.pause_rules WHERE rule_key = ANY($1::bigint[])
), found AS MATERIALIZED (
    SELECT DISTINCT t.run_key, t.step_no, t.attempt, t.step_name
    FROM rules r CROSS JOIN LATERAL (SELECT q.* FROM (
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
                        AND s.rule_key = r.rule_key
                        AND s.token_until IS NULL) IS NULL)
                AND NOT (r.is_exempting
                        AND EXISTS (
                            SELECT FROM zart.pause_exemptions x
                            WHERE x.rule_key = r.rule_key AND x.execution_id = (
                                SELECT execution_id FROM zart.executions WHERE execution_key = (
                                    SELECT execution_key FROM zart.runs WHERE run_key = t.run_key)) AND x.token_until IS NULL
                            OFFSET 0))
            LIMIT $2::bigint)
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
                            AND s.rule_key = r.rule_key
                            AND s.token_until IS NULL) IS NULL)
                    AND NOT (r.is_exempting
                            AND EXISTS (
                                SELECT FROM zart.pause_exemptions x
                                WHERE x.rule_key = r.rule_key AND x.execution_id = (
                                    SELECT execution_id FROM zart.executions WHERE execution_key = (
                                        SELECT execution_key FROM zart.runs WHERE run_key = t.run_key)) AND x.token_until IS NULL
                                OFFSET 0))
                ORDER BY t.not_before, t.queue_no LIMIT $2::bigint) m
            WHERE r.execution_id IS NULL AND (r.step_regex IS NULL OR l.step_name IS NOT NULL)
                AND
                (r.task_name IS NULL OR r.task_name = l.task_name)
                AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
            LIMIT $2::bigint)
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
                    ORDER BY not_before, queue_no LIMIT $3::bigint) t
                WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
                    AND
                    (r.task_name IS NULL OR r.task_name = l.task_name)
                    AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
                LIMIT $3::bigint
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
            LIMIT $2::bigint)
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
                        AND s.rule_key = r.rule_key
                        AND s.token_until IS NULL) IS NULL)
                AND NOT (r.is_exempting
                        AND EXISTS (
                            SELECT FROM zart.pause_exemptions x
                            WHERE x.rule_key = r.rule_key AND x.execution_id = (
                                SELECT execution_id FROM zart.executions WHERE execution_key = (
                                    SELECT execution_key FROM zart.runs WHERE run_key = t.run_key)) AND x.token_until IS NULL
                            OFFSET 0))
            LIMIT $2::bigint)
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
                            AND s.rule_key = r.rule_key
                            AND s.token_until IS NULL) IS NULL)
                    AND NOT (r.is_exempting
                            AND EXISTS (
                                SELECT FROM zart.pause_exemptions x
                                WHERE x.rule_key = r.rule_key AND x.execution_id = (
                                    SELECT execution_id FROM zart.executions WHERE execution_key = (
                                        SELECT execution_key FROM zart.runs WHERE run_key = t.run_key)) AND x.token_until IS NULL
                                OFFSET 0))
                ORDER BY t.not_before, t.queue_no LIMIT $2::bigint) m
            WHERE r.execution_id IS NULL AND (r.step_regex IS NULL OR l.step_name IS NOT NULL)
                AND
                (r.task_name IS NULL OR r.task_name = l.task_name)
                AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
            LIMIT $2::bigint)
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
                    ORDER BY not_before, queue_no LIMIT $3::bigint) t
                WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
                    AND
                    (r.task_name IS NULL OR r.task_name = l.task_name)
                    AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
                LIMIT $3::bigint
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
            LIMIT $2::bigint)
    ) t
    LIMIT $2
)
SELECT e.execution_id, e.task_name, m.step_name, ARRAY(
    SELECT s.rule_key FROM zart.released_steps s
    WHERE s.run_key = m.run_key AND s.step_no = m.step_no AND s.attempt = m.attempt
        AND s.token_until IS NULL) AS let_go
FROM found m CROSS JOIN LATERAL (
    SELECT execution_id, task_name FROM zart.executions WHERE execution_key = (
        SELECT execution_key FROM zart.runs WHERE run_key = m.run_key) OFFSET 0) e
UNION ALL
SELECT NULL, NULL, NULL, NULL FROM (SELECT count(*) AS n FROM found) c
WHERE CASE WHEN c.n < $2 THEN EXISTS (SELECT FROM rules r WHERE (r.is_settling AND EXISTS (
    SELECT FROM (
        SELECT t.* FROM (
            SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
            UNION ALL SELECT lane, task_name, step_name
            FROM zart.lanes
            WHERE r.task_name IS NULL) l
        CROSS JOIN LATERAL (
            SELECT lane FROM zart.queue WHERE lane = l.lane
            ORDER BY not_before, queue_no LIMIT $3::bigint + 1) t
        WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
            AND
            (r.task_name IS NULL OR r.task_name = l.task_name)
            AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
        LIMIT $3::bigint + 1
    ) t OFFSET $3::bigint)
        OR EXISTS (
            SELECT FROM (
                SELECT t.* FROM (
                    SELECT lane, task_name, step_name FROM zart.lanes WHERE task_name = r.task_name
                    UNION ALL SELECT lane, task_name, step_name
                    FROM zart.lanes
                    WHERE r.task_name IS NULL) l
                CROSS JOIN LATERAL (
                    SELECT lane FROM zart.held WHERE lane = l.lane
                    ORDER BY not_before, queue_no LIMIT $3::bigint + 1) t
                WHERE r.execution_id IS NULL AND r.step_regex IS NOT NULL AND l.step_name IS NULL
                    AND
                    (r.task_name IS NULL OR r.task_name = l.task_name)
                    AND (r.step_regex IS NULL OR l.step_name IS NULL OR l.step_name ~ r.step_regex)
                LIMIT $3::bigint + 1
            ) t OFFSET $3::bigint))) END;

-- store/pausing/matching.py: find_of_executions
-- Return up to ``limit`` ready steps of executions that are in the scope of a rule.
-- Locks: nothing.
SELECT i.id, u.task_name, m.step_name, ARRAY(
    SELECT s.rule_key FROM zart.released_steps s
    WHERE s.run_key = m.run_key AND s.step_no = m.step_no AND s.attempt = m.attempt
        AND s.token_until IS NULL) AS let_go
FROM (SELECT * FROM zart.pause_rules WHERE rule_key = $1 OFFSET 0) r
CROSS JOIN unnest($2::text[]) i(id)
CROSS JOIN LATERAL (
    SELECT l.run_key, e.task_name FROM (
        SELECT execution_key, task_name FROM zart.executions
        WHERE execution_id = i.id OFFSET 0) e
    CROSS JOIN LATERAL (
        SELECT run_key, status FROM zart.runs WHERE execution_key = e.execution_key
        ORDER BY run_number DESC LIMIT 1) l
    WHERE l.status IN ('scheduled', 'running')
) u
CROSS JOIN LATERAL (
    SELECT run_key, step_no, attempt, step_name FROM zart.queue WHERE run_key = u.run_key
    UNION ALL
    SELECT run_key, step_no, attempt, step_name FROM zart.held WHERE run_key = u.run_key
    OFFSET 0) m
WHERE (r.execution_id IS NULL OR r.execution_id = i.id)
    AND (r.task_name IS NULL OR r.task_name = u.task_name)
    AND (r.step_regex IS NULL OR m.step_name ~ r.step_regex)
LIMIT $3;
