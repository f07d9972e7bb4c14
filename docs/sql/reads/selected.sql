-- store/reads/selected.py: select_page (whole)
-- Return what a filter selects of the next executions, ``limit`` of them at most.
-- Locks: nothing.
-- Parameters: run_keys=$1, as_of=$2, asks_started=$3, asks_failed=$4.
SELECT c.execution_key, c.run_key, NULL::integer
FROM unnest($1::bigint[]) WITH ORDINALITY u(run_key, n) CROSS JOIN LATERAL (
    SELECT run_key, execution_key, listed_task, run_number, status, created_at, started_at,
        completed_at
    FROM zart.runs WHERE run_key = u.run_key OFFSET 0) c
WHERE c.created_at <= $2::timestamptz
    AND COALESCE(c.completed_at <= $2, true)
    AND CASE WHEN $3::boolean THEN COALESCE(c.started_at <= $2, true)
    ELSE true END
    AND CASE WHEN $4::boolean AND c.status = 'running' THEN NOT EXISTS (
        SELECT FROM unnest(ARRAY['retry_step', 'complete_step', 'fail_step']) k(kind)
        CROSS JOIN LATERAL (
            SELECT FROM zart.operations o
            WHERE o.execution_id = (SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key) AND o.kind = k.kind
                AND o.run_number = c.run_number AND o.created_at > $2
                AND o.replaced->>'status' = 'failed' LIMIT 1) o)
    ELSE true END ORDER BY u.n;

-- store/reads/selected.py: select_page (steps)
-- Return what a filter selects of the next executions, ``limit`` of them at most.
-- Locks: nothing.
-- Parameters: run_keys=$1, died_from=$2, died_before=$3, error_group_id=$4, step_regex=$5,
--   contains=$6, dead=$7, as_of=$8, running=$9, paused=$10, scheduled=$11, pending=$12,
--   completed=$13, rule_key=$14, asks_started=$15, asks_failed=$16.
WITH settling AS MATERIALIZED (SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes)
SELECT c.execution_key, c.run_key, s.step_no
FROM unnest($1::bigint[]) WITH ORDINALITY u(run_key, n) CROSS JOIN LATERAL (
    SELECT run_key, execution_key, listed_task, run_number, status, created_at, started_at,
        completed_at
    FROM zart.runs WHERE run_key = u.run_key OFFSET 0) c
CROSS JOIN LATERAL (
    SELECT x.step_no FROM
    (SELECT * FROM zart.dead_steps WHERE run_key = c.run_key OFFSET 0) x
    LEFT JOIN LATERAL (
        SELECT * FROM zart.error_groups WHERE group_key = x.group_key OFFSET 0) g ON true
    WHERE x.died_at >= $2::timestamptz AND x.died_at < $3::timestamptz
        AND CASE WHEN $4::text = '' THEN true
        ELSE g.error_group_id = $4 END
        AND CASE WHEN $5::text = '' THEN true ELSE g.step_name ~ $5 END
        AND CASE WHEN $6::text = '' THEN true ELSE (
            SELECT position($6 IN (s.error->>'type') || ': ' || (s.error->>'message')) > 0
            FROM zart.steps s
            WHERE s.run_key = x.run_key AND s.step_no = x.step_no OFFSET 0) END
        AND $7::boolean AND x.died_at <= $8
    UNION ALL
    SELECT o.step_no FROM (
        SELECT t.step_no FROM zart.leases t
        WHERE t.run_key = c.run_key AND t.started_at <= $8 AND ($9::boolean)
        UNION ALL
        SELECT t.step_no FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND t.scheduled_at <= $8
            AND (CASE WHEN CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
                    ELSE false END THEN $10::boolean ELSE $11::boolean END)
        UNION ALL
        SELECT t.step_no FROM zart.held t
        WHERE t.run_key = c.run_key AND t.scheduled_at <= $8 AND (CASE WHEN CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
                ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                    WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                        t.run_key, t.step_no, t.attempt) IS NOT NULL END THEN $10 ELSE $11 END)
        UNION ALL
        SELECT t.step_no FROM zart.steps t
        WHERE t.run_key = c.run_key
            AND $12::boolean
            AND t.status = 'open'
            AND NOT EXISTS (SELECT FROM zart.queue x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.held x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.leases x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
        UNION ALL
        SELECT t.step_no FROM zart.steps t
        WHERE t.run_key = c.run_key AND $13::boolean AND t.status = 'completed'
            AND t.completed_at <= $8
        UNION ALL
        SELECT t.step_no FROM zart.held t
        WHERE t.run_key = c.run_key
            AND t.scheduled_at <= $8
            AND ($14::bigint > 0 AND CASE WHEN t.rule_key <> $14::bigint THEN zart.rule_withholds($14::bigint, (SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt)
                    ELSE (EXISTS (
                        SELECT FROM zart.pause_rules a
                        WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                            AND NOT EXISTS (
                                SELECT FROM zart.pause_exemptions x
                                WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                                    WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                                OFFSET 0)) END AND CASE WHEN $5::text = '' THEN true ELSE t.step_name ~ $5 END)
        UNION ALL
        SELECT t.step_no FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND t.scheduled_at <= $8
            AND ($14 > 0 AND (SELECT yes FROM settling) AND zart.rule_withholds($14::bigint, (SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt)
                    AND CASE WHEN $5::text = '' THEN true ELSE t.step_name ~ $5 END)
    ) o WHERE c.status IN ('scheduled', 'running')
) s
WHERE c.created_at <= $8::timestamptz
    AND COALESCE(c.completed_at <= $8, true)
    AND CASE WHEN $15::boolean THEN COALESCE(c.started_at <= $8, true)
    ELSE true END
    AND CASE WHEN $16::boolean AND c.status = 'running' THEN NOT EXISTS (
        SELECT FROM unnest(ARRAY['retry_step', 'complete_step', 'fail_step']) k(kind)
        CROSS JOIN LATERAL (
            SELECT FROM zart.operations o
            WHERE o.execution_id = (SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key) AND o.kind = k.kind
                AND o.run_number = c.run_number AND o.created_at > $8
                AND o.replaced->>'status' = 'failed' LIMIT 1) o)
    ELSE true END ORDER BY u.n, s.step_no;
