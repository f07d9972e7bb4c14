-- store/pausing/letting_go.py: let_go
-- Do with paused steps what was judged of each; return how many the rule itself let go.
-- Locks: pause_releases.
-- Parameters: rule_keys=$1, run_keys=$2, step_nos=$3, attempts=$4, spent=$5, rule_key=$6.
WITH let_go AS (
    INSERT INTO zart.released_steps (rule_key, run_key, step_no, attempt, token_from)
    SELECT u.*, t.token
    FROM unnest($1::text::bigint[], $2::text::bigint[],
            $3::text::integer[], $4::text::integer[]) u
    CROSS JOIN (SELECT zart.last_token() AS token OFFSET 0) t
    ON CONFLICT (rule_key, run_key, step_no, attempt) DO UPDATE
    SET token_from = excluded.token_from, token_until = NULL, released_at = excluded.released_at
)
UPDATE zart.pause_releases
SET credit = LEAST(GREATEST(rate_per_second, 1), CASE WHEN credit_at > statement_timestamp() THEN 1
        ELSE credit + rate_per_second * COALESCE(
                EXTRACT(epoch FROM statement_timestamp() - credit_at), 0)::float8 END) - $5::integer,
    credit_at = statement_timestamp(), released_steps = released_steps + $5::integer
WHERE rule_key = $6 AND ended_at IS NULL;

-- store/pausing/letting_go.py: promise_canary
-- Have so many steps more released once the rule is settled, of those that are ready by now.
-- Locks: nothing.
INSERT INTO zart.pause_canaries AS c (rule_key, steps, last_queue_no)
VALUES ($1, $2, COALESCE($3::bigint, zart.last_queue_no()))
ON CONFLICT (rule_key) DO UPDATE
SET steps = c.steps + excluded.steps, last_queue_no = GREATEST(c.last_queue_no, excluded.last_queue_no);

-- store/pausing/letting_go.py: promised_canaries
-- Return what is promised of rules that are settled.
-- Locks: nothing.
SELECT rule_key, steps, last_queue_no
FROM zart.pause_canaries c
WHERE NOT EXISTS (SELECT FROM zart.pause_work w WHERE w.rule_key = c.rule_key AND work = 'settle' OFFSET 0)
ORDER BY rule_key;

-- store/pausing/letting_go.py: promised_steps
-- Return how many steps of a rule are to be released once it is settled.
-- Locks: nothing.
SELECT steps FROM zart.pause_canaries WHERE rule_key = $1;

-- store/pausing/letting_go.py: take_canary
-- Return how many steps are to be released, and forget it: the caller does it now.
-- Locks: pause_canaries.
DELETE FROM zart.pause_canaries WHERE rule_key = $1 AND last_queue_no = $2 RETURNING steps;
