-- store/begin_runs.py: insert_steps
-- Insert all steps of new runs, given as (run key, definition key), from their graphs.
-- Locks: nothing.
INSERT INTO zart.steps (run_key, step_no, status, pending_deps)
SELECT run_key, c.no - 1, 'open', c.deps
FROM (SELECT * FROM unnest($1::text::bigint[], $2::text::bigint[]) new(run_key, definition_key)) new
CROSS JOIN LATERAL (SELECT dep_counts FROM zart.definitions
    WHERE definition_key = new.definition_key OFFSET 0) d
CROSS JOIN LATERAL unnest(dep_counts) WITH ORDINALITY c(deps, no);

-- store/begin_runs.py: insert_new_runs (insert with steps)
-- Enqueue the roots of new runs, (run key, definition key), and insert all their steps.
-- Locks: pause lock, shared; runs, new ones that no other transaction sees.
-- Parameters: run_keys=$1, definition_keys=$2, epoch=$3, rule_keys=$4, lessees=$5,
--   lessee_seconds=$6, lessee_ids=$7, lessee_principals=$8.
WITH now AS MATERIALIZED (SELECT zart.shared_epoch(134558950621186) AS epoch), new AS MATERIALIZED (
    SELECT u.* FROM unnest($1::text::bigint[], $2::text::bigint[])
    WITH ORDINALITY u(run_key, definition_key, n)
    WHERE $3 = (SELECT epoch FROM now)
), steps AS (
    INSERT INTO zart.steps (run_key, step_no, status, pending_deps)
    SELECT run_key, c.no - 1, 'open', c.deps
    FROM (SELECT * FROM new) new CROSS JOIN LATERAL (SELECT dep_counts FROM zart.definitions
        WHERE definition_key = new.definition_key OFFSET 0) d
    CROSS JOIN LATERAL unnest(dep_counts) WITH ORDINALITY c(deps, no)
), roots AS MATERIALIZED (
    SELECT run_key, s.no - 1 AS step_no, s.lane, s.step_name, s.max_attempts,
        s.timeout_seconds, row_number() OVER (ORDER BY n, s.no) AS n
    FROM new new CROSS JOIN LATERAL (SELECT * FROM zart.definitions
        WHERE definition_key = new.definition_key OFFSET 0) d
    CROSS JOIN LATERAL unnest(
            d.dep_counts, d.lanes, d.step_names, d.max_attempts, d.timeout_seconds)
    WITH ORDINALITY s(deps, lane, step_name, max_attempts, timeout_seconds, no)
    WHERE s.deps = 0
), ready AS MATERIALIZED (
    SELECT *, 1 AS attempt, 0 AS counted, 0 AS backoff_base, 0 AS delay, 0 AS correction,
        COALESCE(($4::bigint[])[n], 0) AS rule_key,
        COALESCE(($5::text::integer[])[n], 0) AS lessee
    FROM roots
), queued AS (
    INSERT INTO zart.queue (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, nextval('zart.queue_numbers'),
        clock_timestamp() + delay * interval '1 second', clock_timestamp()
    FROM ready WHERE rule_key = 0 AND lessee = 0 ORDER BY n
), held AS (
    INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, rule_key)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, nextval('zart.queue_numbers'),
        clock_timestamp() + delay * interval '1 second', clock_timestamp(), rule_key
    FROM ready WHERE rule_key <> 0 ORDER BY n
), leased AS (
    INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, lease_token, started_at, lease_expires_at,
            lease_seconds, dispatcher_id, principal)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, 0, statement_timestamp(), statement_timestamp(),
        nextval('zart.lease_tokens'), statement_timestamp(),
        statement_timestamp() + ($6::float8[])[lessee] * interval '1 second',
        ($6::float8[])[lessee], ($7::text[])[lessee],
        ($8::text[])[lessee]
    FROM ready WHERE rule_key = 0 AND lessee <> 0 ORDER BY n
    RETURNING run_key, step_no, lease_token, lease_expires_at
), started AS (
    UPDATE zart.runs SET status = 'running', started_at = statement_timestamp()
    WHERE run_key = ANY(ARRAY(SELECT run_key FROM leased))
)
SELECT $3 = epoch, leased.* FROM now LEFT JOIN leased ON true;

-- store/begin_runs.py: insert_new_runs (insert)
-- Enqueue the roots of new runs, (run key, definition key), and insert all their steps.
-- Locks: pause lock, shared; runs, new ones that no other transaction sees.
-- Parameters: run_keys=$1, definition_keys=$2, epoch=$3, rule_keys=$4, lessees=$5,
--   lessee_seconds=$6, lessee_ids=$7, lessee_principals=$8.
WITH now AS MATERIALIZED (SELECT zart.shared_epoch(134558950621186) AS epoch), new AS MATERIALIZED (
    SELECT u.* FROM unnest($1::text::bigint[], $2::text::bigint[])
    WITH ORDINALITY u(run_key, definition_key, n)
    WHERE $3 = (SELECT epoch FROM now)
), roots AS MATERIALIZED (
    SELECT run_key, s.no - 1 AS step_no, s.lane, s.step_name, s.max_attempts,
        s.timeout_seconds, row_number() OVER (ORDER BY n, s.no) AS n
    FROM new new CROSS JOIN LATERAL (SELECT * FROM zart.definitions
        WHERE definition_key = new.definition_key OFFSET 0) d
    CROSS JOIN LATERAL unnest(
            d.dep_counts, d.lanes, d.step_names, d.max_attempts, d.timeout_seconds)
    WITH ORDINALITY s(deps, lane, step_name, max_attempts, timeout_seconds, no)
    WHERE s.deps = 0
), ready AS MATERIALIZED (
    SELECT *, 1 AS attempt, 0 AS counted, 0 AS backoff_base, 0 AS delay, 0 AS correction,
        COALESCE(($4::bigint[])[n], 0) AS rule_key,
        COALESCE(($5::text::integer[])[n], 0) AS lessee
    FROM roots
), queued AS (
    INSERT INTO zart.queue (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, nextval('zart.queue_numbers'),
        clock_timestamp() + delay * interval '1 second', clock_timestamp()
    FROM ready WHERE rule_key = 0 AND lessee = 0 ORDER BY n
), held AS (
    INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, rule_key)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, nextval('zart.queue_numbers'),
        clock_timestamp() + delay * interval '1 second', clock_timestamp(), rule_key
    FROM ready WHERE rule_key <> 0 ORDER BY n
), leased AS (
    INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at, lease_token, started_at, lease_expires_at,
            lease_seconds, dispatcher_id, principal)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, 0, statement_timestamp(), statement_timestamp(),
        nextval('zart.lease_tokens'), statement_timestamp(),
        statement_timestamp() + ($6::float8[])[lessee] * interval '1 second',
        ($6::float8[])[lessee], ($7::text[])[lessee],
        ($8::text[])[lessee]
    FROM ready WHERE rule_key = 0 AND lessee <> 0 ORDER BY n
    RETURNING run_key, step_no, lease_token, lease_expires_at
), started AS (
    UPDATE zart.runs SET status = 'running', started_at = statement_timestamp()
    WHERE run_key = ANY(ARRAY(SELECT run_key FROM leased))
)
SELECT $3 = epoch, leased.* FROM now LEFT JOIN leased ON true;
