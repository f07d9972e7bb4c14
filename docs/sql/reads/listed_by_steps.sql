-- store/reads/listed_by_steps.py: _look (look of keys)
-- Look at runs until there are enough, at few ones first.
-- Locks: nothing.
-- Parameters: run_keys=$1, statuses=$2, task_name=$3, before=$4, before_key=$5, created_from=$6,
--   limit=$7, running=$8, scheduled=$9, paused=$10, pending=$11, completed=$12, max_steps=$13.
WITH candidates AS MATERIALIZED (
    SELECT r.listed_at, r.execution_key, r.run_key, r.listed_task
    FROM unnest($1::bigint[]) u(run_key) CROSS JOIN LATERAL (
        SELECT * FROM zart.runs WHERE runs.run_key = u.run_key OFFSET 0) r
    WHERE r.is_current AND r.status = ANY($2::text[])
        AND ($3::text = '' OR r.listed_task = $3)
        AND (r.listed_at, r.execution_key) < ($4::timestamptz, $5::bigint)
        AND r.listed_at >= $6::timestamptz
    ORDER BY r.listed_at DESC, r.execution_key DESC LIMIT $7::bigint
), settling AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
), sized AS (
    SELECT c.*, sum(size) OVER (
        ORDER BY listed_at DESC, execution_key DESC
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM candidates c CROSS JOIN LATERAL (
        SELECT COALESCE((
            SELECT step_no + 1 FROM zart.steps s WHERE s.run_key = c.run_key
            ORDER BY step_no DESC LIMIT 1), 1) AS size OFFSET 0) z
)
SELECT listed_at, execution_key, run_key, CASE
    WHEN $8::boolean AND EXISTS (SELECT FROM zart.leases t
        WHERE t.run_key = c.run_key AND true OFFSET 0) THEN true
    WHEN $9::boolean AND EXISTS (SELECT FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND NOT CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
            ELSE false END OFFSET 0) THEN true
    WHEN $9 AND EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key AND NOT CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
            ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL END OFFSET 0) THEN true
    WHEN $10::boolean AND EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key AND CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
            ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL END OFFSET 0) THEN true
    WHEN $10 AND (SELECT yes FROM settling) AND EXISTS (SELECT FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
            ELSE false END OFFSET 0) THEN true
    WHEN $11::boolean AND EXISTS (SELECT FROM zart.steps t
        WHERE t.run_key = c.run_key
            AND t.status = 'open'
            AND NOT EXISTS (SELECT FROM zart.queue x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.held x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.leases x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0) OFFSET 0) THEN true
    WHEN $12::boolean AND EXISTS (SELECT FROM zart.steps t
        WHERE t.run_key = c.run_key AND t.status = 'completed' OFFSET 0) THEN true
    ELSE false END,
(SELECT count(*) FROM candidates)
FROM sized c WHERE before IS NULL OR before < $13::bigint
ORDER BY listed_at DESC, execution_key DESC;

-- store/reads/listed_by_steps.py: _look (look of all tasks)
-- Look at runs until there are enough, at few ones first.
-- Locks: nothing.
-- Parameters: statuses=$1, before=$2, before_key=$3, created_from=$4, limit=$5, task_name=$6,
--   running=$7, scheduled=$8, paused=$9, pending=$10, completed=$11, max_steps=$12.
WITH candidates AS MATERIALIZED (
    SELECT r.* FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
        SELECT listed_at, execution_key, run_key, listed_task FROM zart.runs
        WHERE is_current
            AND (status, listed_at, execution_key) < (s.status, $2::timestamptz, $3::bigint)
            AND (status, listed_at, execution_key) >= (s.status, $4::timestamptz, 0)
        ORDER BY status DESC, listed_at DESC, execution_key DESC LIMIT $5::bigint) r
    WHERE $6::text IS NOT NULL
    ORDER BY listed_at DESC, execution_key DESC LIMIT $5
), settling AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
), sized AS (
    SELECT c.*, sum(size) OVER (
        ORDER BY listed_at DESC, execution_key DESC
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM candidates c CROSS JOIN LATERAL (
        SELECT COALESCE((
            SELECT step_no + 1 FROM zart.steps s WHERE s.run_key = c.run_key
            ORDER BY step_no DESC LIMIT 1), 1) AS size OFFSET 0) z
)
SELECT listed_at, execution_key, run_key, CASE
    WHEN $7::boolean AND EXISTS (SELECT FROM zart.leases t
        WHERE t.run_key = c.run_key AND true OFFSET 0) THEN true
    WHEN $8::boolean AND EXISTS (SELECT FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND NOT CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
            ELSE false END OFFSET 0) THEN true
    WHEN $8 AND EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key AND NOT CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
            ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL END OFFSET 0) THEN true
    WHEN $9::boolean AND EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key AND CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
            ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL END OFFSET 0) THEN true
    WHEN $9 AND (SELECT yes FROM settling) AND EXISTS (SELECT FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
            ELSE false END OFFSET 0) THEN true
    WHEN $10::boolean AND EXISTS (SELECT FROM zart.steps t
        WHERE t.run_key = c.run_key
            AND t.status = 'open'
            AND NOT EXISTS (SELECT FROM zart.queue x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.held x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.leases x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0) OFFSET 0) THEN true
    WHEN $11::boolean AND EXISTS (SELECT FROM zart.steps t
        WHERE t.run_key = c.run_key AND t.status = 'completed' OFFSET 0) THEN true
    ELSE false END,
(SELECT count(*) FROM candidates)
FROM sized c WHERE before IS NULL OR before < $12::bigint
ORDER BY listed_at DESC, execution_key DESC;

-- store/reads/listed_by_steps.py: _look (look of a task)
-- Look at runs until there are enough, at few ones first.
-- Locks: nothing.
-- Parameters: statuses=$1, task_name=$2, before=$3, before_key=$4, created_from=$5, limit=$6,
--   running=$7, scheduled=$8, paused=$9, pending=$10, completed=$11, max_steps=$12.
WITH candidates AS MATERIALIZED (
    SELECT r.* FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
        SELECT listed_at, execution_key, run_key, listed_task FROM zart.runs
        WHERE is_current
            AND (listed_task, status, listed_at, execution_key) < ($2::text, s.status, $3::timestamptz, $4::bigint)
            AND (listed_task, status, listed_at, execution_key) >= ($2::text, s.status, $5::timestamptz, 0)
        ORDER BY listed_task DESC, status DESC, listed_at DESC, execution_key DESC LIMIT $6::bigint) r
    ORDER BY listed_at DESC, execution_key DESC LIMIT $6
), settling AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
), sized AS (
    SELECT c.*, sum(size) OVER (
        ORDER BY listed_at DESC, execution_key DESC
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM candidates c CROSS JOIN LATERAL (
        SELECT COALESCE((
            SELECT step_no + 1 FROM zart.steps s WHERE s.run_key = c.run_key
            ORDER BY step_no DESC LIMIT 1), 1) AS size OFFSET 0) z
)
SELECT listed_at, execution_key, run_key, CASE
    WHEN $7::boolean AND EXISTS (SELECT FROM zart.leases t
        WHERE t.run_key = c.run_key AND true OFFSET 0) THEN true
    WHEN $8::boolean AND EXISTS (SELECT FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND NOT CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
            ELSE false END OFFSET 0) THEN true
    WHEN $8 AND EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key AND NOT CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
            ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL END OFFSET 0) THEN true
    WHEN $9::boolean AND EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key AND CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
            ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL END OFFSET 0) THEN true
    WHEN $9 AND (SELECT yes FROM settling) AND EXISTS (SELECT FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
            ELSE false END OFFSET 0) THEN true
    WHEN $10::boolean AND EXISTS (SELECT FROM zart.steps t
        WHERE t.run_key = c.run_key
            AND t.status = 'open'
            AND NOT EXISTS (SELECT FROM zart.queue x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.held x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.leases x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0) OFFSET 0) THEN true
    WHEN $11::boolean AND EXISTS (SELECT FROM zart.steps t
        WHERE t.run_key = c.run_key AND t.status = 'completed' OFFSET 0) THEN true
    ELSE false END,
(SELECT count(*) FROM candidates)
FROM sized c WHERE before IS NULL OR before < $12::bigint
ORDER BY listed_at DESC, execution_key DESC;

-- store/reads/listed_by_steps.py: _look (look fitting of keys)
-- Look at runs until there are enough, at few ones first.
-- Locks: nothing.
-- Parameters: run_keys=$1, statuses=$2, task_name=$3, before=$4, before_key=$5, created_from=$6,
--   limit=$7, id_prefix=$8, triggered_by=$9, batch_id=$10, running=$11, scheduled=$12, paused=$13,
--   pending=$14, completed=$15, max_steps=$16.
WITH candidates AS MATERIALIZED (
    SELECT r.listed_at, r.execution_key, r.run_key, r.listed_task
    FROM unnest($1::bigint[]) u(run_key) CROSS JOIN LATERAL (
        SELECT * FROM zart.runs WHERE runs.run_key = u.run_key OFFSET 0) r
    WHERE r.is_current AND r.status = ANY($2::text[])
        AND ($3::text = '' OR r.listed_task = $3)
        AND (r.listed_at, r.execution_key) < ($4::timestamptz, $5::bigint)
        AND r.listed_at >= $6::timestamptz
    ORDER BY r.listed_at DESC, r.execution_key DESC LIMIT $7::bigint
), settling AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
), sized AS (
    SELECT c.*, sum(size) OVER (
        ORDER BY listed_at DESC, execution_key DESC
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM candidates c CROSS JOIN LATERAL (
        SELECT COALESCE((
            SELECT step_no + 1 FROM zart.steps s WHERE s.run_key = c.run_key
            ORDER BY step_no DESC LIMIT 1), 1) AS size OFFSET 0) z
)
SELECT listed_at, execution_key, run_key, CASE WHEN $8::text = '' THEN true ELSE (
    SELECT starts_with(e.execution_id, $8) FROM zart.executions e
    WHERE e.execution_key = c.execution_key OFFSET 0) END
    AND CASE WHEN $9::text = '' THEN true ELSE (
        SELECT o.triggered_by = $9 FROM zart.runs o
        WHERE o.execution_key = c.execution_key AND o.run_number = 0 OFFSET 0) END
    AND CASE WHEN $10::text = '' THEN true ELSE EXISTS (
        SELECT FROM zart.batch_items i
        WHERE i.batch_key = (SELECT b.batch_key FROM zart.batches b WHERE b.batch_id = $10)
            AND i.execution_key = c.execution_key OFFSET 0) END AND CASE
    WHEN $11::boolean AND EXISTS (SELECT FROM zart.leases t
        WHERE t.run_key = c.run_key AND true OFFSET 0) THEN true
    WHEN $12::boolean AND EXISTS (SELECT FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND NOT CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
            ELSE false END OFFSET 0) THEN true
    WHEN $12 AND EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key AND NOT CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
            ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL END OFFSET 0) THEN true
    WHEN $13::boolean AND EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key AND CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
            ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL END OFFSET 0) THEN true
    WHEN $13 AND (SELECT yes FROM settling) AND EXISTS (SELECT FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
            ELSE false END OFFSET 0) THEN true
    WHEN $14::boolean AND EXISTS (SELECT FROM zart.steps t
        WHERE t.run_key = c.run_key
            AND t.status = 'open'
            AND NOT EXISTS (SELECT FROM zart.queue x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.held x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.leases x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0) OFFSET 0) THEN true
    WHEN $15::boolean AND EXISTS (SELECT FROM zart.steps t
        WHERE t.run_key = c.run_key AND t.status = 'completed' OFFSET 0) THEN true
    ELSE false END,
(SELECT count(*) FROM candidates)
FROM sized c WHERE before IS NULL OR before < $16::bigint
ORDER BY listed_at DESC, execution_key DESC;

-- store/reads/listed_by_steps.py: _look (look fitting of all tasks)
-- Look at runs until there are enough, at few ones first.
-- Locks: nothing.
-- Parameters: statuses=$1, before=$2, before_key=$3, created_from=$4, limit=$5, task_name=$6,
--   id_prefix=$7, triggered_by=$8, batch_id=$9, running=$10, scheduled=$11, paused=$12,
--   pending=$13, completed=$14, max_steps=$15.
WITH candidates AS MATERIALIZED (
    SELECT r.* FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
        SELECT listed_at, execution_key, run_key, listed_task FROM zart.runs
        WHERE is_current
            AND (status, listed_at, execution_key) < (s.status, $2::timestamptz, $3::bigint)
            AND (status, listed_at, execution_key) >= (s.status, $4::timestamptz, 0)
        ORDER BY status DESC, listed_at DESC, execution_key DESC LIMIT $5::bigint) r
    WHERE $6::text IS NOT NULL
    ORDER BY listed_at DESC, execution_key DESC LIMIT $5
), settling AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
), sized AS (
    SELECT c.*, sum(size) OVER (
        ORDER BY listed_at DESC, execution_key DESC
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM candidates c CROSS JOIN LATERAL (
        SELECT COALESCE((
            SELECT step_no + 1 FROM zart.steps s WHERE s.run_key = c.run_key
            ORDER BY step_no DESC LIMIT 1), 1) AS size OFFSET 0) z
)
SELECT listed_at, execution_key, run_key, CASE WHEN $7::text = '' THEN true ELSE (
    SELECT starts_with(e.execution_id, $7) FROM zart.executions e
    WHERE e.execution_key = c.execution_key OFFSET 0) END
    AND CASE WHEN $8::text = '' THEN true ELSE (
        SELECT o.triggered_by = $8 FROM zart.runs o
        WHERE o.execution_key = c.execution_key AND o.run_number = 0 OFFSET 0) END
    AND CASE WHEN $9::text = '' THEN true ELSE EXISTS (
        SELECT FROM zart.batch_items i
        WHERE i.batch_key = (SELECT b.batch_key FROM zart.batches b WHERE b.batch_id = $9)
            AND i.execution_key = c.execution_key OFFSET 0) END AND CASE
    WHEN $10::boolean AND EXISTS (SELECT FROM zart.leases t
        WHERE t.run_key = c.run_key AND true OFFSET 0) THEN true
    WHEN $11::boolean AND EXISTS (SELECT FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND NOT CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
            ELSE false END OFFSET 0) THEN true
    WHEN $11 AND EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key AND NOT CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
            ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL END OFFSET 0) THEN true
    WHEN $12::boolean AND EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key AND CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
            ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL END OFFSET 0) THEN true
    WHEN $12 AND (SELECT yes FROM settling) AND EXISTS (SELECT FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
            ELSE false END OFFSET 0) THEN true
    WHEN $13::boolean AND EXISTS (SELECT FROM zart.steps t
        WHERE t.run_key = c.run_key
            AND t.status = 'open'
            AND NOT EXISTS (SELECT FROM zart.queue x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.held x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.leases x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0) OFFSET 0) THEN true
    WHEN $14::boolean AND EXISTS (SELECT FROM zart.steps t
        WHERE t.run_key = c.run_key AND t.status = 'completed' OFFSET 0) THEN true
    ELSE false END,
(SELECT count(*) FROM candidates)
FROM sized c WHERE before IS NULL OR before < $15::bigint
ORDER BY listed_at DESC, execution_key DESC;

-- store/reads/listed_by_steps.py: _look (look fitting of a task)
-- Look at runs until there are enough, at few ones first.
-- Locks: nothing.
-- Parameters: statuses=$1, task_name=$2, before=$3, before_key=$4, created_from=$5, limit=$6,
--   id_prefix=$7, triggered_by=$8, batch_id=$9, running=$10, scheduled=$11, paused=$12,
--   pending=$13, completed=$14, max_steps=$15.
WITH candidates AS MATERIALIZED (
    SELECT r.* FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
        SELECT listed_at, execution_key, run_key, listed_task FROM zart.runs
        WHERE is_current
            AND (listed_task, status, listed_at, execution_key) < ($2::text, s.status, $3::timestamptz, $4::bigint)
            AND (listed_task, status, listed_at, execution_key) >= ($2::text, s.status, $5::timestamptz, 0)
        ORDER BY listed_task DESC, status DESC, listed_at DESC, execution_key DESC LIMIT $6::bigint) r
    ORDER BY listed_at DESC, execution_key DESC LIMIT $6
), settling AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
), sized AS (
    SELECT c.*, sum(size) OVER (
        ORDER BY listed_at DESC, execution_key DESC
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM candidates c CROSS JOIN LATERAL (
        SELECT COALESCE((
            SELECT step_no + 1 FROM zart.steps s WHERE s.run_key = c.run_key
            ORDER BY step_no DESC LIMIT 1), 1) AS size OFFSET 0) z
)
SELECT listed_at, execution_key, run_key, CASE WHEN $7::text = '' THEN true ELSE (
    SELECT starts_with(e.execution_id, $7) FROM zart.executions e
    WHERE e.execution_key = c.execution_key OFFSET 0) END
    AND CASE WHEN $8::text = '' THEN true ELSE (
        SELECT o.triggered_by = $8 FROM zart.runs o
        WHERE o.execution_key = c.execution_key AND o.run_number = 0 OFFSET 0) END
    AND CASE WHEN $9::text = '' THEN true ELSE EXISTS (
        SELECT FROM zart.batch_items i
        WHERE i.batch_key = (SELECT b.batch_key FROM zart.batches b WHERE b.batch_id = $9)
            AND i.execution_key = c.execution_key OFFSET 0) END AND CASE
    WHEN $10::boolean AND EXISTS (SELECT FROM zart.leases t
        WHERE t.run_key = c.run_key AND true OFFSET 0) THEN true
    WHEN $11::boolean AND EXISTS (SELECT FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND NOT CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
            ELSE false END OFFSET 0) THEN true
    WHEN $11 AND EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key AND NOT CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
            ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL END OFFSET 0) THEN true
    WHEN $12::boolean AND EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key AND CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
            ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL END OFFSET 0) THEN true
    WHEN $12 AND (SELECT yes FROM settling) AND EXISTS (SELECT FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
            ELSE false END OFFSET 0) THEN true
    WHEN $13::boolean AND EXISTS (SELECT FROM zart.steps t
        WHERE t.run_key = c.run_key
            AND t.status = 'open'
            AND NOT EXISTS (SELECT FROM zart.queue x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.held x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.leases x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0) OFFSET 0) THEN true
    WHEN $14::boolean AND EXISTS (SELECT FROM zart.steps t
        WHERE t.run_key = c.run_key AND t.status = 'completed' OFFSET 0) THEN true
    ELSE false END,
(SELECT count(*) FROM candidates)
FROM sized c WHERE before IS NULL OR before < $15::bigint
ORDER BY listed_at DESC, execution_key DESC;

-- store/reads/listed_by_steps.py: _look (look fitting of a batch)
-- Look at runs until there are enough, at few ones first.
-- Locks: nothing.
-- Parameters: batch_key=$1, before_key=$2, limit=$3, statuses=$4, task_name=$5, before=$6,
--   created_from=$7, id_prefix=$8, triggered_by=$9, batch_id=$10, running=$11, scheduled=$12,
--   paused=$13, pending=$14, completed=$15, max_steps=$16.
WITH candidates AS MATERIALIZED (
    SELECT r.listed_at, i.execution_key, r.run_key, r.listed_task
    FROM (
        SELECT execution_key FROM zart.batch_items
        WHERE batch_key = $1::bigint AND execution_key < $2::bigint
        ORDER BY execution_key DESC LIMIT $3::bigint) i
    LEFT JOIN LATERAL (
        SELECT * FROM (
            SELECT run_key, listed_at, listed_task, status FROM zart.runs
            WHERE runs.execution_key = i.execution_key
            ORDER BY run_number DESC LIMIT 1) n
        WHERE n.status = ANY($4::text[])
            AND ($5::text = '' OR n.listed_task = $5)
            AND n.listed_at < $6::timestamptz
            AND n.listed_at >= $7::timestamptz) r ON true
), settling AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
), sized AS (
    SELECT c.*, sum(size) OVER (
        ORDER BY execution_key DESC
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM candidates c CROSS JOIN LATERAL (
        SELECT COALESCE((
            SELECT step_no + 1 FROM zart.steps s WHERE s.run_key = c.run_key
            ORDER BY step_no DESC LIMIT 1), 1) AS size OFFSET 0) z
)
SELECT listed_at, execution_key, run_key, c.run_key IS NOT NULL
    AND CASE WHEN $8::text = '' THEN true ELSE (
        SELECT starts_with(e.execution_id, $8) FROM zart.executions e
        WHERE e.execution_key = c.execution_key OFFSET 0) END
    AND CASE WHEN $9::text = '' THEN true ELSE (
        SELECT o.triggered_by = $9 FROM zart.runs o
        WHERE o.execution_key = c.execution_key AND o.run_number = 0 OFFSET 0) END
    AND CASE WHEN $10::text = '' THEN true ELSE EXISTS (
        SELECT FROM zart.batch_items i
        WHERE i.batch_key = (SELECT b.batch_key FROM zart.batches b WHERE b.batch_id = $10)
            AND i.execution_key = c.execution_key OFFSET 0) END AND CASE
    WHEN $11::boolean AND EXISTS (SELECT FROM zart.leases t
        WHERE t.run_key = c.run_key AND true OFFSET 0) THEN true
    WHEN $12::boolean AND EXISTS (SELECT FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND NOT CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
            ELSE false END OFFSET 0) THEN true
    WHEN $12 AND EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key AND NOT CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
            ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL END OFFSET 0) THEN true
    WHEN $13::boolean AND EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key AND CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
            ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL END OFFSET 0) THEN true
    WHEN $13 AND (SELECT yes FROM settling) AND EXISTS (SELECT FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
            ELSE false END OFFSET 0) THEN true
    WHEN $14::boolean AND EXISTS (SELECT FROM zart.steps t
        WHERE t.run_key = c.run_key
            AND t.status = 'open'
            AND NOT EXISTS (SELECT FROM zart.queue x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.held x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.leases x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0) OFFSET 0) THEN true
    WHEN $15::boolean AND EXISTS (SELECT FROM zart.steps t
        WHERE t.run_key = c.run_key AND t.status = 'completed' OFFSET 0) THEN true
    ELSE false END,
(SELECT count(*) FROM candidates)
FROM sized c WHERE before IS NULL OR before < $16::bigint
ORDER BY execution_key DESC;

-- store/reads/listed_by_steps.py: _look (look fitting of keys by key)
-- Look at runs until there are enough, at few ones first.
-- Locks: nothing.
-- Parameters: run_keys=$1, statuses=$2, task_name=$3, before_key=$4, before=$5, created_from=$6,
--   limit=$7, id_prefix=$8, triggered_by=$9, batch_id=$10, running=$11, scheduled=$12, paused=$13,
--   pending=$14, completed=$15, max_steps=$16.
WITH candidates AS MATERIALIZED (
    SELECT r.listed_at, r.execution_key, r.run_key, r.listed_task
    FROM unnest($1::bigint[]) u(run_key) CROSS JOIN LATERAL (
        SELECT * FROM zart.runs WHERE runs.run_key = u.run_key OFFSET 0) r
    WHERE r.is_current AND r.status = ANY($2::text[])
        AND ($3::text = '' OR r.listed_task = $3)
        AND r.execution_key < $4::bigint AND r.listed_at < $5::timestamptz
        AND r.listed_at >= $6::timestamptz
    ORDER BY r.execution_key DESC LIMIT $7::bigint
), settling AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
), sized AS (
    SELECT c.*, sum(size) OVER (
        ORDER BY execution_key DESC
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM candidates c CROSS JOIN LATERAL (
        SELECT COALESCE((
            SELECT step_no + 1 FROM zart.steps s WHERE s.run_key = c.run_key
            ORDER BY step_no DESC LIMIT 1), 1) AS size OFFSET 0) z
)
SELECT listed_at, execution_key, run_key, c.run_key IS NOT NULL
    AND CASE WHEN $8::text = '' THEN true ELSE (
        SELECT starts_with(e.execution_id, $8) FROM zart.executions e
        WHERE e.execution_key = c.execution_key OFFSET 0) END
    AND CASE WHEN $9::text = '' THEN true ELSE (
        SELECT o.triggered_by = $9 FROM zart.runs o
        WHERE o.execution_key = c.execution_key AND o.run_number = 0 OFFSET 0) END
    AND CASE WHEN $10::text = '' THEN true ELSE EXISTS (
        SELECT FROM zart.batch_items i
        WHERE i.batch_key = (SELECT b.batch_key FROM zart.batches b WHERE b.batch_id = $10)
            AND i.execution_key = c.execution_key OFFSET 0) END AND CASE
    WHEN $11::boolean AND EXISTS (SELECT FROM zart.leases t
        WHERE t.run_key = c.run_key AND true OFFSET 0) THEN true
    WHEN $12::boolean AND EXISTS (SELECT FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND NOT CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
            ELSE false END OFFSET 0) THEN true
    WHEN $12 AND EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key AND NOT CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
            ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL END OFFSET 0) THEN true
    WHEN $13::boolean AND EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key AND CASE WHEN (EXISTS (
            SELECT FROM zart.pause_rules a
            WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                AND NOT EXISTS (
                    SELECT FROM zart.pause_exemptions x
                    WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                    OFFSET 0)) THEN true
            ELSE zart.pausing_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL END OFFSET 0) THEN true
    WHEN $13 AND (SELECT yes FROM settling) AND EXISTS (SELECT FROM zart.queue t
        WHERE t.run_key = c.run_key
            AND CASE WHEN (SELECT yes FROM settling) THEN zart.settling_rule((SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt) IS NOT NULL
            ELSE false END OFFSET 0) THEN true
    WHEN $14::boolean AND EXISTS (SELECT FROM zart.steps t
        WHERE t.run_key = c.run_key
            AND t.status = 'open'
            AND NOT EXISTS (SELECT FROM zart.queue x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.held x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0)
            AND NOT EXISTS (SELECT FROM zart.leases x WHERE x.run_key = t.run_key AND x.step_no = t.step_no OFFSET 0) OFFSET 0) THEN true
    WHEN $15::boolean AND EXISTS (SELECT FROM zart.steps t
        WHERE t.run_key = c.run_key AND t.status = 'completed' OFFSET 0) THEN true
    ELSE false END,
(SELECT count(*) FROM candidates)
FROM sized c WHERE before IS NULL OR before < $16::bigint
ORDER BY execution_key DESC;

-- store/reads/listed_by_steps.py: _runs_of_few_tasks
-- Return the runs in which steps of these states can be; None: of too many tasks.
-- Locks: nothing.
-- Parameters: running=$1, limit=$2, scheduled=$3, paused=$4.
WITH tasks AS MATERIALIZED (
    (SELECT run_key FROM zart.leases WHERE run_key < 9223372036854775807 AND ($1::boolean)
        ORDER BY run_key DESC LIMIT $2::bigint)
    UNION ALL
    (SELECT run_key FROM zart.queue WHERE run_key < 9223372036854775807 AND ($3::boolean OR $4::boolean AND EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle'))
        ORDER BY run_key DESC LIMIT $2::bigint)
    UNION ALL
    (SELECT run_key FROM zart.held WHERE run_key < 9223372036854775807 AND ($4 OR $3 AND EXISTS (SELECT FROM zart.pause_work WHERE work = 'release'))
        ORDER BY run_key DESC LIMIT $2::bigint)
)
SELECT run_key, count(*) FROM tasks GROUP BY run_key;
