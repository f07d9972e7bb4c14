-- store/leases.py: recorded_leases
-- Return which leases ended by a report of the principal's own, not by the server.
-- Locks: nothing.
-- Parameters: principals=$1, run_keys=$2, step_nos=$3, tokens=$4, of_principals=$5.
SELECT r, s, t, p FROM (
    SELECT r, s, t, ($1::text[])[of_principal] AS p
    FROM unnest($2::text::bigint[], $3::text::integer[], $4::text::bigint[],
            $5::text::integer[]) u(r, s, t, of_principal)) u
-- Not EXISTS: for many leases the planner would rather read all steps there are.
WHERE COALESCE((
    SELECT true FROM zart.steps WHERE run_key = r AND step_no = s AND lease_token = t
        AND principal = p AND status = 'completed'), (
            SELECT true FROM zart.attempts WHERE run_key = r AND step_no = s AND lease_token = t
                AND principal = p AND NOT swept), false);

-- store/leases.py: unclaim
-- Undo leases of this very transaction that do not fit into the response.
-- Locks: leases.
WITH gone AS (
    DELETE FROM zart.leases l
    USING unnest($1::bigint[], $2::integer[], $3::bigint[]) u(run_key, step_no, token)
    WHERE l.run_key = ANY(ARRAY[u.run_key]) AND l.step_no = u.step_no
        AND l.lease_token = u.token
    RETURNING l.*
)
INSERT INTO zart.queue (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at)
SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
    timeout_seconds, step_name, correction, queue_no, not_before, scheduled_at FROM gone;

-- store/leases.py: extend (extend)
-- Extend the principals' own leases by the time they were taken for.
-- Locks: leases, passing over locked rows.
-- Parameters: run_keys=$1, step_nos=$2, tokens=$3, of_principals=$4, principals=$5.
WITH free AS MATERIALIZED (
    SELECT l.tid FROM unnest($1::text::bigint[], $2::text::integer[], $3::text::bigint[],
            $4::text::integer[]) u(r, s, t, of_principal) CROSS JOIN LATERAL (
                SELECT ctid AS tid FROM zart.leases
                WHERE run_key = r AND step_no = s AND lease_token = t
                    AND principal = ($5::text[])[of_principal]
                FOR UPDATE SKIP LOCKED) l
)
UPDATE zart.leases l SET lease_expires_at = GREATEST(l.lease_expires_at, LEAST(
        statement_timestamp() + l.lease_seconds * interval '1 second',
        started_at + (timeout_seconds + lease_seconds) * interval '1 second'))
WHERE ctid = ANY(ARRAY(SELECT tid FROM free))
RETURNING l.run_key, l.step_no, l.lease_token, l.principal, l.lease_expires_at,
    GREATEST(l.lease_expires_at - statement_timestamp(), interval '0');

-- store/leases.py: extend (read ends)
-- Extend the principals' own leases by the time they were taken for.
-- Locks: nothing.
-- Parameters: run_keys=$1, step_nos=$2, tokens=$3, of_principals=$4, principals=$5.
SELECT l.run_key, l.step_no, l.lease_token, l.principal, l.lease_expires_at,
    GREATEST(l.lease_expires_at - statement_timestamp(), interval '0')
FROM unnest($1::text::bigint[], $2::text::integer[], $3::text::bigint[],
        $4::text::integer[]) u(r, s, t, of_principal) CROSS JOIN LATERAL (
            SELECT * FROM zart.leases WHERE run_key = r AND step_no = s OFFSET 0) l
WHERE l.lease_token = t AND l.principal = ($5::text[])[of_principal];

-- store/leases.py: expired_leases
-- Return leases past their end, which is within these times, oldest first; locks nothing.
-- Locks: nothing.
WITH found AS MATERIALIZED (
    SELECT * FROM zart.leases WHERE lease_expires_at <= statement_timestamp()
        AND lease_expires_at >= COALESCE($2::timestamptz, '-infinity')
        AND lease_expires_at < COALESCE($3::timestamptz, 'infinity')
        AND (run_key IN (SELECT unnest($4::text::bigint[]))) IS NOT TRUE
    ORDER BY lease_expires_at LIMIT $1
), looked AS MATERIALIZED (
    SELECT EXTRACT(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS seconds
    FROM (SELECT count(*) FROM found) f
)
SELECT statement_timestamp(), seconds, lease_expires_at, run_key, step_no, lease_token,
    principal, dispatcher_id, timeout_seconds, lease_seconds,
    lease_expires_at >= started_at + (timeout_seconds + lease_seconds) * interval '1 second'
FROM looked LEFT JOIN found ON true ORDER BY lease_expires_at;

-- store/leases.py: read_lease
-- Return a leased task's run and definition; None where it is not the principal's lease now.
-- Locks: nothing.
SELECT r.run_key, r.definition_key
FROM zart.leases l JOIN zart.runs r USING (run_key)
WHERE l.run_key = $1
    AND l.step_no = $2
    AND l.lease_token = $3
    AND l.principal = $4;
