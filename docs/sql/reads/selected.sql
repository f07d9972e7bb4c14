-- store/reads/selected.py: select_page (whole)
-- Return what a filter selects of the next executions, ``limit`` of them at most.
-- Locks: nothing.
-- Parameters: run_keys=$1, asks_since=$2, as_of=$3, asks_started=$4, asks_failed=$5.
SELECT c.execution_key, c.run_key, NULL::integer
FROM unnest($1::bigint[]) WITH ORDINALITY u(run_key, n) CROSS JOIN LATERAL (
    SELECT run_key, execution_key, listed_task, run_number, status, created_at, started_at,
        completed_at
    FROM zart.runs WHERE run_key = u.run_key OFFSET 0) c
CROSS JOIN LATERAL (
    SELECT bool_or(replaced->>'status' = 'failed') AS was_failed,
        bool_or(kind = 'retry_step') AS has_retried
    FROM zart.operations o
    WHERE $2::boolean
        AND c.status = 'running'
        AND execution_id = (SELECT e.execution_id FROM zart.executions e
            WHERE e.execution_key = c.execution_key)
        AND kind IN ('retry_step', 'complete_step', 'fail_step')
        AND o.run_number = c.run_number AND o.created_at > $3::timestamptz) f
WHERE c.created_at <= $3
    AND COALESCE(c.completed_at <= $3, true)
    AND CASE WHEN $4::boolean THEN COALESCE(c.started_at <= $3, true)
    ELSE true END
    AND (NOT $5::boolean OR f.was_failed IS NOT TRUE) ORDER BY u.n;

-- store/reads/selected.py: select_page (steps)
-- Return what a filter selects of the next executions, ``limit`` of them at most.
-- Locks: nothing.
-- Parameters: as_of=$1, run_keys=$2, asks_since=$3, died_from=$4, died_before=$5,
--   error_group_id=$6, step_regex=$7, contains=$8, dead=$9, running=$10, paused=$11,
--   asks_paused=$12, scheduled=$13, asks_scheduled=$14, pending=$15, completed=$16, rule_key=$17,
--   asks_started=$18, asks_failed=$19.
WITH settling AS MATERIALIZED (SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes),
ended AS MATERIALIZED (
    SELECT execution_id, task_name, step_regex FROM zart.pause_rules
    WHERE deleted_at > $1::timestamptz AND created_at <= $1
    ORDER BY deleted_at
)
SELECT c.execution_key, c.run_key, s.step_no
FROM unnest($2::bigint[]) WITH ORDINALITY u(run_key, n) CROSS JOIN LATERAL (
    SELECT run_key, execution_key, listed_task, run_number, status, created_at, started_at,
        completed_at
    FROM zart.runs WHERE run_key = u.run_key OFFSET 0) c
CROSS JOIN LATERAL (
    SELECT bool_or(replaced->>'status' = 'failed') AS was_failed,
        bool_or(kind = 'retry_step') AS has_retried
    FROM zart.operations o
    WHERE $3::boolean
        AND c.status = 'running'
        AND execution_id = (SELECT e.execution_id FROM zart.executions e
            WHERE e.execution_key = c.execution_key)
        AND kind IN ('retry_step', 'complete_step', 'fail_step')
        AND o.run_number = c.run_number AND o.created_at > $1::timestamptz) f
CROSS JOIN LATERAL (
    SELECT x.step_no FROM
    (SELECT * FROM zart.dead_steps WHERE run_key = c.run_key OFFSET 0) x
    LEFT JOIN LATERAL (
        SELECT * FROM zart.error_groups WHERE group_key = x.group_key OFFSET 0) g ON true
    WHERE x.died_at >= $4::timestamptz AND x.died_at < $5::timestamptz
        AND CASE WHEN $6::text = '' THEN true
        ELSE $6 IN (g.error_group_id, g.former_id) END
        AND CASE WHEN $7::text = '' THEN true ELSE g.step_name ~ $7 END
        AND CASE WHEN $8::text = '' THEN true ELSE (
            SELECT position($8 IN (s.error->>'type') || ': ' || (s.error->>'message')) > 0
            FROM zart.steps s
            WHERE s.run_key = x.run_key AND s.step_no = x.step_no OFFSET 0) END
        AND $9::boolean AND x.died_at <= $1
    UNION ALL
    SELECT o.step_no FROM (
        SELECT t.step_no FROM zart.leases t
        WHERE t.run_key = c.run_key AND t.started_at <= $1 AND ($10::boolean)
        UNION ALL
        SELECT t.step_no FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND t.scheduled_at <= $1
            AND (CASE WHEN CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
                    ELSE false END THEN CASE WHEN $11::boolean THEN CASE WHEN NOT $12::boolean THEN true
                    ELSE COALESCE((SELECT p.created_at <= $1 FROM zart.pause_rules p
                        WHERE p.rule_key = zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                            WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                                t.run_key, t.step_no, t.attempt)), false)
                    AND NOT EXISTS (
                        SELECT FROM zart.operations o
                        WHERE o.execution_id = (SELECT e.execution_id FROM zart.executions e
                            WHERE e.execution_key = c.execution_key) AND o.kind = 'update_pause_rule'
                            AND o.created_at > $1 AND o.made->>'is_exempt' = 'false' OFFSET 0) AND NOT EXISTS (
                                SELECT FROM (
                                    SELECT rule_key FROM zart.released_steps x
                                    WHERE x.run_key = t.run_key
                                        AND x.step_no = t.step_no
                                        AND x.attempt = t.attempt
                                        AND x.token_until IS NOT NULL OFFSET 0) x
                                CROSS JOIN LATERAL (
                                    SELECT breaker_id FROM zart.pause_rules p WHERE p.rule_key = x.rule_key OFFSET 0) p
                                LEFT JOIN LATERAL (
                                    SELECT COALESCE(ended_at, started_at) AS at FROM zart.pause_releases z
                                    WHERE z.rule_key = x.rule_key OFFSET 0) z ON true
                                LEFT JOIN LATERAL (
                                    SELECT opened_at AS at FROM zart.breakers b
                                    WHERE b.breaker_id = p.breaker_id AND b.rule_key = x.rule_key OFFSET 0) b ON true
                                WHERE GREATEST(z.at, b.at) > $1) END ELSE false END WHEN $13::boolean THEN CASE WHEN NOT $14::boolean THEN true
                    ELSE NOT EXISTS (
                        SELECT FROM zart.released_steps x
                        WHERE x.run_key = t.run_key
                            AND x.step_no = t.step_no
                            AND x.attempt = t.attempt
                            AND x.released_at > $1 OFFSET 0)
                    AND NOT EXISTS (
                        SELECT FROM zart.operations o
                        WHERE o.execution_id = (SELECT e.execution_id FROM zart.executions e
                            WHERE e.execution_key = c.execution_key) AND o.kind = 'update_pause_rule'
                            AND o.created_at > $1 AND o.made->>'is_exempt' = 'true' OFFSET 0) AND NOT EXISTS (
                                SELECT FROM ended p
                                WHERE (p.execution_id IS NULL OR p.execution_id = (SELECT e.execution_id FROM zart.executions e
                                    WHERE e.execution_key = c.execution_key))
                                    AND (p.task_name IS NULL OR p.task_name = c.listed_task)
                                    AND (p.step_regex IS NULL OR t.step_name ~ p.step_regex)) END ELSE false END)
        UNION ALL
        SELECT t.step_no FROM zart.held t
        WHERE t.run_key = c.run_key AND t.scheduled_at <= $1 AND (CASE WHEN CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
                ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                    WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                        t.run_key, t.step_no, t.attempt) IS NOT NULL END THEN CASE WHEN $11::boolean THEN CASE WHEN NOT $12::boolean THEN true
                ELSE COALESCE((SELECT p.created_at <= $1 FROM zart.pause_rules p
                    WHERE p.rule_key = t.rule_key), false)
                AND NOT EXISTS (
                    SELECT FROM zart.operations o
                    WHERE o.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND o.kind = 'update_pause_rule'
                        AND o.created_at > $1 AND o.made->>'is_exempt' = 'false' OFFSET 0) AND NOT EXISTS (
                            SELECT FROM (
                                SELECT rule_key FROM zart.released_steps x
                                WHERE x.run_key = t.run_key
                                    AND x.step_no = t.step_no
                                    AND x.attempt = t.attempt
                                    AND x.token_until IS NOT NULL OFFSET 0) x
                            CROSS JOIN LATERAL (
                                SELECT breaker_id FROM zart.pause_rules p WHERE p.rule_key = x.rule_key OFFSET 0) p
                            LEFT JOIN LATERAL (
                                SELECT COALESCE(ended_at, started_at) AS at FROM zart.pause_releases z
                                WHERE z.rule_key = x.rule_key OFFSET 0) z ON true
                            LEFT JOIN LATERAL (
                                SELECT opened_at AS at FROM zart.breakers b
                                WHERE b.breaker_id = p.breaker_id AND b.rule_key = x.rule_key OFFSET 0) b ON true
                            WHERE GREATEST(z.at, b.at) > $1) END ELSE false END WHEN $13::boolean THEN CASE WHEN NOT $14::boolean THEN true
                ELSE NOT EXISTS (
                    SELECT FROM zart.released_steps x
                    WHERE x.run_key = t.run_key
                        AND x.step_no = t.step_no
                        AND x.attempt = t.attempt
                        AND x.released_at > $1 OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.operations o
                    WHERE o.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND o.kind = 'update_pause_rule'
                        AND o.created_at > $1 AND o.made->>'is_exempt' = 'true' OFFSET 0) AND NOT EXISTS (
                            SELECT FROM ended p
                            WHERE (p.execution_id IS NULL OR p.execution_id = (SELECT e.execution_id FROM zart.executions e
                                WHERE e.execution_key = c.execution_key))
                                AND (p.task_name IS NULL OR p.task_name = c.listed_task)
                                AND (p.step_regex IS NULL OR t.step_name ~ p.step_regex)) END ELSE false END)
        UNION ALL
        SELECT t.step_no FROM zart.steps t
        WHERE t.run_key = c.run_key AND $15::boolean AND t.status = 'open'
            AND (t.attempt = 0 OR f.has_retried IS NOT TRUE)
            AND NOT EXISTS (SELECT FROM zart.queue x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.held x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.leases x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
        UNION ALL
        SELECT t.step_no FROM zart.steps t
        WHERE t.run_key = c.run_key AND $16::boolean AND t.status = 'completed'
            AND t.completed_at <= $1
        UNION ALL
        SELECT t.step_no FROM zart.held t
        WHERE t.run_key = c.run_key
            AND t.scheduled_at <= $1
            AND ($17::bigint > 0 AND CASE WHEN CASE WHEN t.rule_key <> $17::bigint THEN zart.rule_withholds($17::bigint, (SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt)
                    ELSE (EXISTS (
                        SELECT FROM zart.pause_rules a
                        WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                            AND NOT EXISTS (
                                SELECT FROM zart.pause_exemptions x
                                WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                                    WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                                OFFSET 0)) END AND CASE WHEN $7::text = '' THEN true ELSE t.step_name ~ $7 END THEN NOT EXISTS (
                                    SELECT FROM zart.operations o
                                    WHERE o.execution_id = (SELECT e.execution_id FROM zart.executions e
                                        WHERE e.execution_key = c.execution_key) AND o.kind = 'update_pause_rule'
                                        AND o.created_at > $1 AND o.made->>'is_exempt' = 'false' OFFSET 0) AND NOT EXISTS (
                                            SELECT FROM (
                                                SELECT rule_key FROM zart.released_steps x
                                                WHERE x.run_key = t.run_key
                                                    AND x.step_no = t.step_no
                                                    AND x.attempt = t.attempt
                                                    AND x.token_until IS NOT NULL OFFSET 0) x
                                            CROSS JOIN LATERAL (
                                                SELECT breaker_id FROM zart.pause_rules p WHERE p.rule_key = x.rule_key OFFSET 0) p
                                            LEFT JOIN LATERAL (
                                                SELECT COALESCE(ended_at, started_at) AS at FROM zart.pause_releases z
                                                WHERE z.rule_key = x.rule_key OFFSET 0) z ON true
                                            LEFT JOIN LATERAL (
                                                SELECT opened_at AS at FROM zart.breakers b
                                                WHERE b.breaker_id = p.breaker_id AND b.rule_key = x.rule_key OFFSET 0) b ON true
                                            WHERE GREATEST(z.at, b.at) > $1) ELSE false END)
        UNION ALL
        SELECT t.step_no FROM zart.queue t
        WHERE t.run_key = c.run_key AND t.scheduled_at <= $1 AND ($17 > 0 AND (SELECT yes FROM settling)
                AND CASE WHEN zart.rule_withholds($17::bigint, (SELECT e.execution_id FROM zart.executions e
                    WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                        t.run_key, t.step_no, t.attempt)
                AND CASE WHEN $7::text = '' THEN true ELSE t.step_name ~ $7 END THEN NOT EXISTS (
                    SELECT FROM zart.operations o
                    WHERE o.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND o.kind = 'update_pause_rule'
                        AND o.created_at > $1 AND o.made->>'is_exempt' = 'false' OFFSET 0) AND NOT EXISTS (
                            SELECT FROM (
                                SELECT rule_key FROM zart.released_steps x
                                WHERE x.run_key = t.run_key
                                    AND x.step_no = t.step_no
                                    AND x.attempt = t.attempt
                                    AND x.token_until IS NOT NULL OFFSET 0) x
                            CROSS JOIN LATERAL (
                                SELECT breaker_id FROM zart.pause_rules p WHERE p.rule_key = x.rule_key OFFSET 0) p
                            LEFT JOIN LATERAL (
                                SELECT COALESCE(ended_at, started_at) AS at FROM zart.pause_releases z
                                WHERE z.rule_key = x.rule_key OFFSET 0) z ON true
                            LEFT JOIN LATERAL (
                                SELECT opened_at AS at FROM zart.breakers b
                                WHERE b.breaker_id = p.breaker_id AND b.rule_key = x.rule_key OFFSET 0) b ON true
                            WHERE GREATEST(z.at, b.at) > $1) ELSE false END)
    ) o WHERE c.status IN ('scheduled', 'running')
        AND f.was_failed IS NOT TRUE
) s
WHERE c.created_at <= $1
    AND COALESCE(c.completed_at <= $1, true)
    AND CASE WHEN $18::boolean THEN COALESCE(c.started_at <= $1, true)
    ELSE true END
    AND (NOT $19::boolean OR f.was_failed IS NOT TRUE) ORDER BY u.n, s.step_no;
