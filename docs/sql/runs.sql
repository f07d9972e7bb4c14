-- store/runs.py: run_exists
-- Return whether an execution has a run of this number.
-- Locks: nothing.
SELECT EXISTS (SELECT FROM zart.runs WHERE execution_key = $1 AND run_number = $2);

-- store/runs.py: lock_runs (lock runs waiting)
-- Lock runs in key order; those that others have locked are waited for or left out.
-- Locks: runs, waiting.
-- Parameters: locked=$1.
SELECT run_key, dead_steps, status, by_hand FROM zart.runs
WHERE run_key = ANY($1::text::bigint[])
ORDER BY run_key FOR NO KEY UPDATE;

-- store/runs.py: lock_runs (lock runs passing over locked rows)
-- Lock runs in key order; those that others have locked are waited for or left out.
-- Locks: runs, passing over locked rows.
-- Parameters: locked=$1.
SELECT run_key, dead_steps, status, by_hand FROM zart.runs
WHERE run_key = ANY($1::text::bigint[])
ORDER BY run_key FOR NO KEY UPDATE
    SKIP LOCKED;

-- store/runs.py: differing_payloads
-- Return those pairs of runs whose payloads are not the same text, compared where they stand.
-- Locks: nothing.
SELECT u.* FROM unnest($1::bigint[], $2::bigint[]) u(one, other)
CROSS JOIN LATERAL (
    SELECT CASE WHEN payload IS NULL THEN payload_run_key ELSE run_key END AS run_key
    FROM zart.runs WHERE run_key = u.one OFFSET 0) a
CROSS JOIN LATERAL (
    SELECT CASE WHEN payload IS NULL THEN payload_run_key ELSE run_key END AS run_key
    FROM zart.runs WHERE run_key = u.other OFFSET 0) b
LEFT JOIN LATERAL (
    SELECT payload FROM zart.runs WHERE run_key = a.run_key OFFSET 0) c ON true
LEFT JOIN LATERAL (
    SELECT payload FROM zart.runs WHERE run_key = b.run_key OFFSET 0) d ON true
WHERE a.run_key IS DISTINCT FROM b.run_key
    AND c.payload::text IS DISTINCT FROM d.payload::text;

-- store/runs.py: start_runs
-- Move runs from SCHEDULED to RUNNING at their first lease, skipping locked ones.
-- Locks: runs.
UPDATE zart.runs SET status = 'running', started_at = statement_timestamp()
WHERE run_key = ANY(ARRAY(
    SELECT r.run_key FROM unnest($1::text::bigint[]) u(run_key) CROSS JOIN LATERAL (
        SELECT run_key FROM zart.runs
        WHERE run_key = u.run_key AND status || '' = 'scheduled'
        FOR NO KEY UPDATE SKIP LOCKED) r))
    AND status || '' = 'scheduled';

-- store/runs.py: finish_runs
-- Finish those of the runs, all locked by this transaction, in which no step can go on.
-- Locks: runs.
WITH finished AS MATERIALIZED (
    SELECT r.run_key, CASE WHEN r.dead_steps = 0 THEN 'completed' ELSE 'failed' END
        AS status, CASE WHEN r.dead_steps > 0 THEN (
            SELECT d.step_names[s.step_no + 1]
                || COALESCE(': ' || COALESCE(
                        NULLIF(s.error->>'message', ''), NULLIF(s.error->>'type', '')), '')
            FROM zart.steps s JOIN zart.definitions d
            ON d.definition_key = r.definition_key
            WHERE s.run_key = r.run_key AND s.status = 'dead'
            ORDER BY s.completed_at, s.step_no LIMIT 1) END AS error
    FROM unnest($1::text::bigint[]) u(run_key) CROSS JOIN LATERAL (
        SELECT run_key, status, dead_steps, definition_key FROM zart.runs
        WHERE run_key = u.run_key OFFSET 0) r
    WHERE r.status IN ('scheduled', 'running')
        AND (SELECT true FROM zart.queue WHERE run_key = r.run_key LIMIT 1) IS NULL
        AND (SELECT true FROM zart.leases WHERE run_key = r.run_key LIMIT 1) IS NULL
        AND (SELECT true FROM zart.held WHERE run_key = r.run_key LIMIT 1) IS NULL
)
UPDATE zart.runs r SET status = f.status, error = COALESCE(f.error, ''),
    started_at = COALESCE(r.started_at, statement_timestamp()),
    completed_at = statement_timestamp()
FROM finished f WHERE r.run_key = ANY(ARRAY[f.run_key])
RETURNING r.run_key;

-- store/runs.py: cancel_runs
-- Move unfinished runs, locked by this transaction, to CANCELLED; errors are by run key.
-- Locks: runs.
UPDATE zart.runs r
SET status = 'cancelled', completed_at = statement_timestamp(), error = u.why
FROM unnest($1::bigint[], $2::text[]) u(k, why)
WHERE r.run_key = ANY(ARRAY[u.k])
    AND r.status || '' IN ('scheduled', 'running')
RETURNING run_key, execution_key, run_number, definition_key, status, "trigger",
    triggered_by, principal, reason, source_run_number, dead_steps, error, created_at, started_at,
    completed_at, by_hand;
