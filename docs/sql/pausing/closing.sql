-- store/pausing/closing.py: find_leased
-- Return up to ``limit`` released attempts of a rule that stand and were leased.
-- Locks: nothing.
-- Parameters: rule_key=$1, limit=$2.
SELECT run_key, step_no, attempt FROM zart.released_steps s
WHERE rule_key = $1 AND COALESCE(s.token_until, -1) = -1 AND NOT EXISTS (
    SELECT FROM zart.queue q WHERE q.run_key = s.run_key AND q.step_no = s.step_no
        AND q.attempt = s.attempt OFFSET 0)
    AND NOT EXISTS (
        SELECT FROM zart.held h WHERE h.run_key = s.run_key AND h.step_no = s.step_no
            AND h.attempt = s.attempt OFFSET 0)
LIMIT $2;

-- store/pausing/closing.py: close_leased
-- Note of a rule's released attempts that they were leased, so that few stand.
-- Locks: released_steps, passing over locked rows.
-- Parameters: run_keys=$1, step_nos=$2, attempts=$3, rule_key=$4.
UPDATE zart.released_steps s SET token_until = t.token
FROM (SELECT zart.last_token() AS token OFFSET 0) t
WHERE s.token_until IS NULL AND s.ctid = ANY(ARRAY(
    SELECT m.tid FROM unnest($1::text::bigint[], $2::text::integer[],
            $3::text::integer[]) u(run_key, step_no, attempt)
    CROSS JOIN LATERAL (
        SELECT ctid AS tid FROM zart.released_steps
        WHERE rule_key = $4 AND run_key = u.run_key AND step_no = u.step_no
            AND attempt = u.attempt FOR UPDATE SKIP LOCKED) m));
