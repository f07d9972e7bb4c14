-- store/end_leases.py: end_and_enqueue
-- End leases, complete runs and enqueue ready steps by one statement, without a transaction.
-- Locks: leases; pause lock; runs; steps.
WITH locked AS MATERIALIZED (
    SELECT run_key, dead_steps, status FROM zart.runs WHERE run_key = ANY($10::text::bigint[])
    ORDER BY run_key FOR NO KEY UPDATE
        SKIP LOCKED), now AS MATERIALIZED (
            SELECT zart.shared_epoch(134558950621186) AS epoch, l.n, l.are_running FROM (
                SELECT count(*) AS n, bool_and(status = 'running') AS are_running FROM locked) l
        ), fine AS MATERIALIZED (
            SELECT are_running AND n = cardinality($10::text::bigint[]) AND epoch = $30 AS yes
            FROM now
        ), verdicts AS MATERIALIZED (
            SELECT u.*, ($5::text[])[of_principal] AS principal
            FROM unnest($1::text::bigint[], $2::text::integer[], $3::text::bigint[],
                    $4::text::integer[], $6::text::text[], $7::text::boolean[], $8::text[], $9::text[])
            WITH ORDINALITY
                u(run_key, step_no, lease_token, of_principal, status, retryable, result, error, n)
            WHERE (run_key IN (SELECT run_key FROM locked)) IS TRUE AND (SELECT yes FROM fine)
        ), ended AS (
            DELETE FROM zart.leases l USING verdicts t
            WHERE l.run_key = ANY(ARRAY[t.run_key]) AND l.step_no = t.step_no
                AND l.lease_token = t.lease_token AND l.principal = t.principal
                AND (NOT $11 OR l.lease_expires_at <= statement_timestamp())
            RETURNING l.*, t.n, t.status, t.retryable, t.result::json AS result,
                t.error::json AS error,
                l.counted + CASE t.status WHEN 'released' THEN 0 ELSE 1 END AS now_counted,
                CASE WHEN t.status = 'completed' THEN 'completed'
                WHEN t.status <> 'released'
                AND (NOT t.retryable OR l.counted + 1 >= l.max_attempts)
                THEN 'dead' END AS final
        ), attempts AS (
            INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,
                    principal, lease_token, error, started_at, completed_at)
            SELECT run_key, step_no, attempt, status, $11, dispatcher_id, principal, lease_token,
                error, started_at, statement_timestamp()
            FROM ended WHERE status <> 'completed'
        ), steps AS (
            UPDATE zart.steps s SET status = e.final, attempt = e.attempt,
                counted = e.now_counted, max_attempts = e.max_attempts,
                retryable = e.retryable AND e.final = 'dead', result = e.result, error = e.error,
                scheduled_at = e.scheduled_at, started_at = e.started_at,
                completed_at = statement_timestamp(), lease_token = e.lease_token,
                dispatcher_id = e.dispatcher_id, principal = e.principal
            FROM ended e
            WHERE e.final IS NOT NULL AND s.run_key = ANY(ARRAY[e.run_key]) AND s.step_no = e.step_no
                AND s.status = 'open'
        ), finished AS (
            UPDATE zart.runs SET status = 'completed', completed_at = statement_timestamp()
            WHERE status || '' = 'running' AND run_key = ANY(ARRAY(
                SELECT run_key FROM ended
                WHERE (n IN (SELECT unnest($29::text::bigint[]))) IS TRUE))
            RETURNING run_key
        ), ready AS MATERIALIZED (
            SELECT u.*, ($23::integer[])[kind] AS lane, ($24::text[])[kind] AS step_name,
                ($25::float8[])[kind] AS timeout_seconds
            FROM unnest($12::text::bigint[], $13::text::integer[], $14::text::integer[],
                    $15::text::integer[], $16::text::integer[], $17::text::integer[],
                    $18::text::float8[], $19::text::bigint[], $20::text::integer[],
                    $21::text::integer[], $22::text::bigint[])
            WITH ORDINALITY u(run_key, step_no, attempt, counted, backoff_base, max_attempts,
                    delay, rule_key, kind, lessee, after, n)
            WHERE (after IN (SELECT n FROM ended)) IS TRUE
        ), queued AS (
            INSERT INTO zart.queue (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
                    timeout_seconds, step_name, queue_no, not_before, scheduled_at)
            SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
                timeout_seconds, step_name, nextval('zart.queue_numbers'),
                statement_timestamp() + delay * interval '1 second', statement_timestamp()
            FROM ready WHERE rule_key = 0 AND lessee = 0 ORDER BY n
        ), held AS (
            INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
                    timeout_seconds, step_name, queue_no, not_before, scheduled_at, rule_key)
            SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
                timeout_seconds, step_name, nextval('zart.queue_numbers'),
                statement_timestamp() + delay * interval '1 second', statement_timestamp(), rule_key
            FROM ready WHERE rule_key <> 0 ORDER BY n
        ), leased AS (
            INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
                    timeout_seconds, step_name, queue_no, not_before, scheduled_at, lease_token,
                    started_at, lease_expires_at, lease_seconds, dispatcher_id, principal)
            SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
                timeout_seconds, step_name, 0, statement_timestamp(), statement_timestamp(),
                nextval('zart.lease_tokens'), statement_timestamp(),
                statement_timestamp() + ($28::float8[])[lessee] * interval '1 second',
                ($28::float8[])[lessee], ($26::text[])[lessee],
                ($27::text[])[lessee]
            FROM ready WHERE rule_key = 0 AND lessee <> 0 ORDER BY n
            RETURNING run_key, step_no, lease_token, lease_expires_at
        )
SELECT yes, NULL::bigint, NULL::integer, NULL::bigint, NULL::timestamptz FROM fine
UNION ALL
SELECT true, run_key, step_no, NULL, NULL FROM ended
UNION ALL
SELECT true, run_key, NULL, NULL, NULL FROM finished
UNION ALL
SELECT true, * FROM leased;
