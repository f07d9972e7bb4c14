-- store/reads/looking.py: look_at (look current of all tasks)
-- Look at the runs of a range until there are enough, at few ones first.
-- Locks: nothing.
-- Parameters: statuses=$1, before=$2, before_key=$3, created_from=$4, limit=$5, task_name=$6,
--   id_prefix=$7, triggered_by=$8, batch_id=$9, steps=$10, died_from=$11, died_before=$12,
--   error_group_id=$13, step_regex=$14, contains=$15, rule_key=$16.
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
            AND i.execution_key = c.execution_key OFFSET 0) END
    AND CASE $10::text WHEN 'dead' THEN EXISTS (SELECT FROM
        (SELECT * FROM zart.dead_steps WHERE run_key = c.run_key OFFSET 0) x
        LEFT JOIN LATERAL (
            SELECT * FROM zart.error_groups WHERE group_key = x.group_key OFFSET 0) g ON true
        WHERE x.died_at >= $11::timestamptz AND x.died_at < $12::timestamptz
            AND CASE WHEN $13::text = '' THEN true
            ELSE $13 IN (g.error_group_id, g.former_id) END
            AND CASE WHEN $14::text = '' THEN true ELSE g.step_name ~ $14 END
            AND CASE WHEN $15::text = '' THEN true ELSE (
                SELECT position($15 IN (s.error->>'type') || ': ' || (s.error->>'message')) > 0
                FROM zart.steps s
                WHERE s.run_key = x.run_key AND s.step_no = x.step_no OFFSET 0) END
    ) WHEN 'withheld' THEN (EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key
            AND CASE WHEN t.rule_key <> $16::bigint THEN zart.rule_withholds($16::bigint, (SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt)
            ELSE (EXISTS (
                SELECT FROM zart.pause_rules a
                WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                    AND NOT EXISTS (
                        SELECT FROM zart.pause_exemptions x
                        WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                            WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                        OFFSET 0)) END AND CASE WHEN $14::text = '' THEN true ELSE t.step_name ~ $14 END OFFSET 0)
            OR (SELECT yes FROM settling) AND EXISTS (SELECT FROM zart.queue t
                WHERE t.run_key = c.run_key
                    AND zart.rule_withholds($16::bigint, (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                            t.run_key, t.step_no, t.attempt)
                    AND CASE WHEN $14::text = '' THEN true ELSE t.step_name ~ $14 END OFFSET 0))
    ELSE true END
FROM candidates c ORDER BY listed_at DESC, execution_key DESC;

-- store/reads/looking.py: look_at (look current of a task)
-- Look at the runs of a range until there are enough, at few ones first.
-- Locks: nothing.
-- Parameters: statuses=$1, task_name=$2, before=$3, before_key=$4, created_from=$5, limit=$6,
--   id_prefix=$7, triggered_by=$8, batch_id=$9, steps=$10, died_from=$11, died_before=$12,
--   error_group_id=$13, step_regex=$14, contains=$15, rule_key=$16.
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
            AND i.execution_key = c.execution_key OFFSET 0) END
    AND CASE $10::text WHEN 'dead' THEN EXISTS (SELECT FROM
        (SELECT * FROM zart.dead_steps WHERE run_key = c.run_key OFFSET 0) x
        LEFT JOIN LATERAL (
            SELECT * FROM zart.error_groups WHERE group_key = x.group_key OFFSET 0) g ON true
        WHERE x.died_at >= $11::timestamptz AND x.died_at < $12::timestamptz
            AND CASE WHEN $13::text = '' THEN true
            ELSE $13 IN (g.error_group_id, g.former_id) END
            AND CASE WHEN $14::text = '' THEN true ELSE g.step_name ~ $14 END
            AND CASE WHEN $15::text = '' THEN true ELSE (
                SELECT position($15 IN (s.error->>'type') || ': ' || (s.error->>'message')) > 0
                FROM zart.steps s
                WHERE s.run_key = x.run_key AND s.step_no = x.step_no OFFSET 0) END
    ) WHEN 'withheld' THEN (EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key
            AND CASE WHEN t.rule_key <> $16::bigint THEN zart.rule_withholds($16::bigint, (SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt)
            ELSE (EXISTS (
                SELECT FROM zart.pause_rules a
                WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                    AND NOT EXISTS (
                        SELECT FROM zart.pause_exemptions x
                        WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                            WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                        OFFSET 0)) END AND CASE WHEN $14::text = '' THEN true ELSE t.step_name ~ $14 END OFFSET 0)
            OR (SELECT yes FROM settling) AND EXISTS (SELECT FROM zart.queue t
                WHERE t.run_key = c.run_key
                    AND zart.rule_withholds($16::bigint, (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                            t.run_key, t.step_no, t.attempt)
                    AND CASE WHEN $14::text = '' THEN true ELSE t.step_name ~ $14 END OFFSET 0))
    ELSE true END
FROM candidates c ORDER BY listed_at DESC, execution_key DESC;

-- store/reads/looking.py: look_at (look with dead steps of all tasks)
-- Look at the runs of a range until there are enough, at few ones first.
-- Locks: nothing.
-- Parameters: statuses=$1, before=$2, before_key=$3, created_from=$4, limit=$5, task_name=$6,
--   id_prefix=$7, triggered_by=$8, batch_id=$9, steps=$10, died_from=$11, died_before=$12,
--   error_group_id=$13, step_regex=$14, contains=$15, rule_key=$16.
WITH candidates AS MATERIALIZED (
    SELECT r.* FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
        SELECT listed_at, execution_key, run_key, listed_task FROM zart.runs
        WHERE CASE WHEN is_current THEN dead_steps ELSE 0 END > 0
            AND (status, listed_at, execution_key) < (s.status, $2::timestamptz, $3::bigint)
            AND (status, listed_at, execution_key) >= (s.status, $4::timestamptz, 0)
        ORDER BY status DESC, listed_at DESC, execution_key DESC LIMIT $5::bigint) r
    WHERE $6::text IS NOT NULL
    ORDER BY listed_at DESC, execution_key DESC LIMIT $5
), settling AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
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
            AND i.execution_key = c.execution_key OFFSET 0) END
    AND CASE $10::text WHEN 'dead' THEN EXISTS (SELECT FROM
        (SELECT * FROM zart.dead_steps WHERE run_key = c.run_key OFFSET 0) x
        LEFT JOIN LATERAL (
            SELECT * FROM zart.error_groups WHERE group_key = x.group_key OFFSET 0) g ON true
        WHERE x.died_at >= $11::timestamptz AND x.died_at < $12::timestamptz
            AND CASE WHEN $13::text = '' THEN true
            ELSE $13 IN (g.error_group_id, g.former_id) END
            AND CASE WHEN $14::text = '' THEN true ELSE g.step_name ~ $14 END
            AND CASE WHEN $15::text = '' THEN true ELSE (
                SELECT position($15 IN (s.error->>'type') || ': ' || (s.error->>'message')) > 0
                FROM zart.steps s
                WHERE s.run_key = x.run_key AND s.step_no = x.step_no OFFSET 0) END
    ) WHEN 'withheld' THEN (EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key
            AND CASE WHEN t.rule_key <> $16::bigint THEN zart.rule_withholds($16::bigint, (SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt)
            ELSE (EXISTS (
                SELECT FROM zart.pause_rules a
                WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                    AND NOT EXISTS (
                        SELECT FROM zart.pause_exemptions x
                        WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                            WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                        OFFSET 0)) END AND CASE WHEN $14::text = '' THEN true ELSE t.step_name ~ $14 END OFFSET 0)
            OR (SELECT yes FROM settling) AND EXISTS (SELECT FROM zart.queue t
                WHERE t.run_key = c.run_key
                    AND zart.rule_withholds($16::bigint, (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                            t.run_key, t.step_no, t.attempt)
                    AND CASE WHEN $14::text = '' THEN true ELSE t.step_name ~ $14 END OFFSET 0))
    ELSE true END
FROM candidates c ORDER BY listed_at DESC, execution_key DESC;

-- store/reads/looking.py: look_at (look with dead steps of a task)
-- Look at the runs of a range until there are enough, at few ones first.
-- Locks: nothing.
-- Parameters: statuses=$1, task_name=$2, before=$3, before_key=$4, created_from=$5, limit=$6,
--   id_prefix=$7, triggered_by=$8, batch_id=$9, steps=$10, died_from=$11, died_before=$12,
--   error_group_id=$13, step_regex=$14, contains=$15, rule_key=$16.
WITH candidates AS MATERIALIZED (
    SELECT r.* FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
        SELECT listed_at, execution_key, run_key, listed_task FROM zart.runs
        WHERE CASE WHEN is_current THEN dead_steps ELSE 0 END > 0
            AND (listed_task, status, listed_at, execution_key) < ($2::text, s.status, $3::timestamptz, $4::bigint)
            AND (listed_task, status, listed_at, execution_key) >= ($2::text, s.status, $5::timestamptz, 0)
        ORDER BY listed_task DESC, status DESC, listed_at DESC, execution_key DESC LIMIT $6::bigint) r
    ORDER BY listed_at DESC, execution_key DESC LIMIT $6
), settling AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
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
            AND i.execution_key = c.execution_key OFFSET 0) END
    AND CASE $10::text WHEN 'dead' THEN EXISTS (SELECT FROM
        (SELECT * FROM zart.dead_steps WHERE run_key = c.run_key OFFSET 0) x
        LEFT JOIN LATERAL (
            SELECT * FROM zart.error_groups WHERE group_key = x.group_key OFFSET 0) g ON true
        WHERE x.died_at >= $11::timestamptz AND x.died_at < $12::timestamptz
            AND CASE WHEN $13::text = '' THEN true
            ELSE $13 IN (g.error_group_id, g.former_id) END
            AND CASE WHEN $14::text = '' THEN true ELSE g.step_name ~ $14 END
            AND CASE WHEN $15::text = '' THEN true ELSE (
                SELECT position($15 IN (s.error->>'type') || ': ' || (s.error->>'message')) > 0
                FROM zart.steps s
                WHERE s.run_key = x.run_key AND s.step_no = x.step_no OFFSET 0) END
    ) WHEN 'withheld' THEN (EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key
            AND CASE WHEN t.rule_key <> $16::bigint THEN zart.rule_withholds($16::bigint, (SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt)
            ELSE (EXISTS (
                SELECT FROM zart.pause_rules a
                WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                    AND NOT EXISTS (
                        SELECT FROM zart.pause_exemptions x
                        WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                            WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                        OFFSET 0)) END AND CASE WHEN $14::text = '' THEN true ELSE t.step_name ~ $14 END OFFSET 0)
            OR (SELECT yes FROM settling) AND EXISTS (SELECT FROM zart.queue t
                WHERE t.run_key = c.run_key
                    AND zart.rule_withholds($16::bigint, (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                            t.run_key, t.step_no, t.attempt)
                    AND CASE WHEN $14::text = '' THEN true ELSE t.step_name ~ $14 END OFFSET 0))
    ELSE true END
FROM candidates c ORDER BY listed_at DESC, execution_key DESC;

-- store/reads/looking.py: look_at (look of keys)
-- Look at the runs of a range until there are enough, at few ones first.
-- Locks: nothing.
-- Parameters: run_keys=$1, statuses=$2, task_name=$3, before=$4, before_key=$5, created_from=$6,
--   limit=$7, id_prefix=$8, triggered_by=$9, batch_id=$10, steps=$11, died_from=$12,
--   died_before=$13, error_group_id=$14, step_regex=$15, contains=$16, rule_key=$17.
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
            AND i.execution_key = c.execution_key OFFSET 0) END
    AND CASE $11::text WHEN 'dead' THEN EXISTS (SELECT FROM
        (SELECT * FROM zart.dead_steps WHERE run_key = c.run_key OFFSET 0) x
        LEFT JOIN LATERAL (
            SELECT * FROM zart.error_groups WHERE group_key = x.group_key OFFSET 0) g ON true
        WHERE x.died_at >= $12::timestamptz AND x.died_at < $13::timestamptz
            AND CASE WHEN $14::text = '' THEN true
            ELSE $14 IN (g.error_group_id, g.former_id) END
            AND CASE WHEN $15::text = '' THEN true ELSE g.step_name ~ $15 END
            AND CASE WHEN $16::text = '' THEN true ELSE (
                SELECT position($16 IN (s.error->>'type') || ': ' || (s.error->>'message')) > 0
                FROM zart.steps s
                WHERE s.run_key = x.run_key AND s.step_no = x.step_no OFFSET 0) END
    ) WHEN 'withheld' THEN (EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key
            AND CASE WHEN t.rule_key <> $17::bigint THEN zart.rule_withholds($17::bigint, (SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt)
            ELSE (EXISTS (
                SELECT FROM zart.pause_rules a
                WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                    AND NOT EXISTS (
                        SELECT FROM zart.pause_exemptions x
                        WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                            WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                        OFFSET 0)) END AND CASE WHEN $15::text = '' THEN true ELSE t.step_name ~ $15 END OFFSET 0)
            OR (SELECT yes FROM settling) AND EXISTS (SELECT FROM zart.queue t
                WHERE t.run_key = c.run_key
                    AND zart.rule_withholds($17::bigint, (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                            t.run_key, t.step_no, t.attempt)
                    AND CASE WHEN $15::text = '' THEN true ELSE t.step_name ~ $15 END OFFSET 0))
    ELSE true END
FROM candidates c ORDER BY listed_at DESC, execution_key DESC;

-- store/reads/looking.py: look_at (look of groups)
-- Look at the runs of a range until there are enough, at few ones first.
-- Locks: nothing.
-- Parameters: statuses=$1, group_keys=$2, before=$3, before_key=$4, created_from=$5, limit=$6,
--   task_name=$7, id_prefix=$8, triggered_by=$9, batch_id=$10, steps=$11, died_from=$12,
--   died_before=$13, error_group_id=$14, step_regex=$15, contains=$16, rule_key=$17.
WITH candidates AS MATERIALIZED (
    SELECT d.listed_at, d.execution_key, d.run_key, r.listed_task,
        r.status = ANY($1::text[]) AS is_wanted
    FROM (
        SELECT d.* FROM unnest($2::bigint[]) g(group_key) CROSS JOIN LATERAL (
            SELECT listed_at, execution_key, run_key FROM zart.dead_steps
            WHERE (group_key, listed_at, execution_key)
                < (g.group_key, $3::timestamptz, $4::bigint)
                AND (group_key, listed_at, execution_key)
                >= (g.group_key, $5::timestamptz, 0)
            ORDER BY group_key DESC, listed_at DESC, execution_key DESC LIMIT $6::bigint) d
        WHERE $7::text IS NOT NULL
        ORDER BY listed_at DESC, execution_key DESC LIMIT $6
    ) d CROSS JOIN LATERAL (
        SELECT status, listed_task FROM zart.runs WHERE run_key = d.run_key OFFSET 0) r
), settling AS MATERIALIZED (
    SELECT EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle') AS yes
)
SELECT listed_at, execution_key, run_key, is_wanted AND CASE WHEN $8::text = '' THEN true ELSE (
    SELECT starts_with(e.execution_id, $8) FROM zart.executions e
    WHERE e.execution_key = c.execution_key OFFSET 0) END
    AND CASE WHEN $9::text = '' THEN true ELSE (
        SELECT o.triggered_by = $9 FROM zart.runs o
        WHERE o.execution_key = c.execution_key AND o.run_number = 0 OFFSET 0) END
    AND CASE WHEN $10::text = '' THEN true ELSE EXISTS (
        SELECT FROM zart.batch_items i
        WHERE i.batch_key = (SELECT b.batch_key FROM zart.batches b WHERE b.batch_id = $10)
            AND i.execution_key = c.execution_key OFFSET 0) END
    AND CASE $11::text WHEN 'dead' THEN EXISTS (SELECT FROM
        (SELECT * FROM zart.dead_steps WHERE run_key = c.run_key OFFSET 0) x
        LEFT JOIN LATERAL (
            SELECT * FROM zart.error_groups WHERE group_key = x.group_key OFFSET 0) g ON true
        WHERE x.died_at >= $12::timestamptz AND x.died_at < $13::timestamptz
            AND CASE WHEN $14::text = '' THEN true
            ELSE $14 IN (g.error_group_id, g.former_id) END
            AND CASE WHEN $15::text = '' THEN true ELSE g.step_name ~ $15 END
            AND CASE WHEN $16::text = '' THEN true ELSE (
                SELECT position($16 IN (s.error->>'type') || ': ' || (s.error->>'message')) > 0
                FROM zart.steps s
                WHERE s.run_key = x.run_key AND s.step_no = x.step_no OFFSET 0) END
    ) WHEN 'withheld' THEN (EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key
            AND CASE WHEN t.rule_key <> $17::bigint THEN zart.rule_withholds($17::bigint, (SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt)
            ELSE (EXISTS (
                SELECT FROM zart.pause_rules a
                WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                    AND NOT EXISTS (
                        SELECT FROM zart.pause_exemptions x
                        WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                            WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                        OFFSET 0)) END AND CASE WHEN $15::text = '' THEN true ELSE t.step_name ~ $15 END OFFSET 0)
            OR (SELECT yes FROM settling) AND EXISTS (SELECT FROM zart.queue t
                WHERE t.run_key = c.run_key
                    AND zart.rule_withholds($17::bigint, (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                            t.run_key, t.step_no, t.attempt)
                    AND CASE WHEN $15::text = '' THEN true ELSE t.step_name ~ $15 END OFFSET 0))
    ELSE true END
FROM candidates c ORDER BY listed_at DESC, execution_key DESC;

-- store/reads/looking.py: look_at (look of a batch)
-- Look at the runs of a range until there are enough, at few ones first.
-- Locks: nothing.
-- Parameters: batch_key=$1, before_key=$2, limit=$3, statuses=$4, task_name=$5, before=$6,
--   created_from=$7, id_prefix=$8, triggered_by=$9, batch_id=$10, steps=$11, died_from=$12,
--   died_before=$13, error_group_id=$14, step_regex=$15, contains=$16, rule_key=$17.
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
            AND i.execution_key = c.execution_key OFFSET 0) END
    AND CASE $11::text WHEN 'dead' THEN EXISTS (SELECT FROM
        (SELECT * FROM zart.dead_steps WHERE run_key = c.run_key OFFSET 0) x
        LEFT JOIN LATERAL (
            SELECT * FROM zart.error_groups WHERE group_key = x.group_key OFFSET 0) g ON true
        WHERE x.died_at >= $12::timestamptz AND x.died_at < $13::timestamptz
            AND CASE WHEN $14::text = '' THEN true
            ELSE $14 IN (g.error_group_id, g.former_id) END
            AND CASE WHEN $15::text = '' THEN true ELSE g.step_name ~ $15 END
            AND CASE WHEN $16::text = '' THEN true ELSE (
                SELECT position($16 IN (s.error->>'type') || ': ' || (s.error->>'message')) > 0
                FROM zart.steps s
                WHERE s.run_key = x.run_key AND s.step_no = x.step_no OFFSET 0) END
    ) WHEN 'withheld' THEN (EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key
            AND CASE WHEN t.rule_key <> $17::bigint THEN zart.rule_withholds($17::bigint, (SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt)
            ELSE (EXISTS (
                SELECT FROM zart.pause_rules a
                WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                    AND NOT EXISTS (
                        SELECT FROM zart.pause_exemptions x
                        WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                            WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                        OFFSET 0)) END AND CASE WHEN $15::text = '' THEN true ELSE t.step_name ~ $15 END OFFSET 0)
            OR (SELECT yes FROM settling) AND EXISTS (SELECT FROM zart.queue t
                WHERE t.run_key = c.run_key
                    AND zart.rule_withholds($17::bigint, (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                            t.run_key, t.step_no, t.attempt)
                    AND CASE WHEN $15::text = '' THEN true ELSE t.step_name ~ $15 END OFFSET 0))
    ELSE true END
FROM candidates c ORDER BY execution_key DESC;

-- store/reads/looking.py: look_at (look of keys by key)
-- Look at the runs of a range until there are enough, at few ones first.
-- Locks: nothing.
-- Parameters: run_keys=$1, statuses=$2, task_name=$3, before_key=$4, before=$5, created_from=$6,
--   limit=$7, id_prefix=$8, triggered_by=$9, batch_id=$10, steps=$11, died_from=$12,
--   died_before=$13, error_group_id=$14, step_regex=$15, contains=$16, rule_key=$17.
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
            AND i.execution_key = c.execution_key OFFSET 0) END
    AND CASE $11::text WHEN 'dead' THEN EXISTS (SELECT FROM
        (SELECT * FROM zart.dead_steps WHERE run_key = c.run_key OFFSET 0) x
        LEFT JOIN LATERAL (
            SELECT * FROM zart.error_groups WHERE group_key = x.group_key OFFSET 0) g ON true
        WHERE x.died_at >= $12::timestamptz AND x.died_at < $13::timestamptz
            AND CASE WHEN $14::text = '' THEN true
            ELSE $14 IN (g.error_group_id, g.former_id) END
            AND CASE WHEN $15::text = '' THEN true ELSE g.step_name ~ $15 END
            AND CASE WHEN $16::text = '' THEN true ELSE (
                SELECT position($16 IN (s.error->>'type') || ': ' || (s.error->>'message')) > 0
                FROM zart.steps s
                WHERE s.run_key = x.run_key AND s.step_no = x.step_no OFFSET 0) END
    ) WHEN 'withheld' THEN (EXISTS (SELECT FROM zart.held t
        WHERE t.run_key = c.run_key
            AND CASE WHEN t.rule_key <> $17::bigint THEN zart.rule_withholds($17::bigint, (SELECT e.execution_id FROM zart.executions e
                WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                    t.run_key, t.step_no, t.attempt)
            ELSE (EXISTS (
                SELECT FROM zart.pause_rules a
                WHERE a.rule_key = t.rule_key AND a.deleted_at IS NULL OFFSET 0)
                    AND NOT EXISTS (
                        SELECT FROM zart.pause_exemptions x
                        WHERE x.rule_key = t.rule_key AND x.execution_id = (SELECT e.execution_id FROM zart.executions e
                            WHERE e.execution_key = c.execution_key) AND x.token_until IS NULL
                        OFFSET 0)) END AND CASE WHEN $15::text = '' THEN true ELSE t.step_name ~ $15 END OFFSET 0)
            OR (SELECT yes FROM settling) AND EXISTS (SELECT FROM zart.queue t
                WHERE t.run_key = c.run_key
                    AND zart.rule_withholds($17::bigint, (SELECT e.execution_id FROM zart.executions e
                        WHERE e.execution_key = c.execution_key), c.listed_task, t.step_name,
                            t.run_key, t.step_no, t.attempt)
                    AND CASE WHEN $15::text = '' THEN true ELSE t.step_name ~ $15 END OFFSET 0))
    ELSE true END
FROM candidates c ORDER BY execution_key DESC;
