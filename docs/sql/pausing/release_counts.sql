-- store/pausing/release_counts.py: count_release
-- Count what a release let go that is queued and not leased, and what is left.
-- Locks: nothing.
-- Parameters: rule_key=$1.
SELECT (
    SELECT count(*) AS unleased FROM zart.released_steps s CROSS JOIN LATERAL (
        SELECT attempt FROM zart.queue
        WHERE run_key = s.run_key AND step_no = s.step_no OFFSET 0) q
    WHERE s.rule_key = $1 AND COALESCE(s.token_until, -1) = -1 AND q.attempt = s.attempt
), (SELECT count(*)
    FROM zart.held
    WHERE (rule_key, not_before) >= ($1::bigint, '-infinity'::timestamptz)
        AND (rule_key, not_before) <= ($1, statement_timestamp())), released_steps,
(SELECT count(*) FROM zart.held WHERE (rule_key, not_before) > ($1::bigint, statement_timestamp())
        AND (rule_key, not_before) < ($1 + 1, '-infinity'::timestamptz)),
    COALESCE((
        SELECT EXTRACT(epoch FROM not_before - statement_timestamp())::float8
        FROM zart.held
        WHERE (rule_key, not_before) > ($1::bigint, statement_timestamp())
            AND (rule_key, not_before) < ($1 + 1, '-infinity'::timestamptz)
        ORDER BY rule_key ASC, not_before ASC, queue_no ASC LIMIT 1), 0),
    COALESCE((
        SELECT EXTRACT(epoch FROM not_before - statement_timestamp())::float8
        FROM zart.held
        WHERE (rule_key, not_before) > ($1::bigint, statement_timestamp())
            AND (rule_key, not_before) < ($1 + 1, '-infinity'::timestamptz)
        ORDER BY rule_key DESC, not_before DESC, queue_no DESC LIMIT 1), 0),
    paused_steps, counted_released, CASE WHEN counted_at <= statement_timestamp() THEN
    EXTRACT(epoch FROM statement_timestamp() - counted_at)::float8 END
FROM zart.pause_releases WHERE rule_key = $1 AND ended_at IS NULL;

-- store/pausing/release_counts.py: note_counted
-- Keep what was counted of a release, for its callers and for the next count.
-- Locks: pause_releases.
-- Parameters: unleased=$1, paused=$2, released=$3, is_waiting=$4, seconds_left=$5, rule_key=$6,
--   started_at=$7, rate=$8.
UPDATE zart.pause_releases
SET unleased_steps = $1, paused_steps = $2, counted_released = $3,
    is_waiting = $4, counted_at = statement_timestamp(),
    expected_end_at = statement_timestamp() + $5::float8 * interval '1 second'
WHERE rule_key = $6 AND ended_at IS NULL AND started_at = $7
    AND rate_per_second = $8;

-- store/pausing/release_counts.py: count_unleased
-- Count only what a release let go that is queued and not leased.
-- Locks: nothing.
-- Parameters: rule_key=$1.
SELECT count(*) AS unleased FROM zart.released_steps s CROSS JOIN LATERAL (
    SELECT attempt FROM zart.queue
    WHERE run_key = s.run_key AND step_no = s.step_no OFFSET 0) q
WHERE s.rule_key = $1 AND COALESCE(s.token_until, -1) = -1 AND q.attempt = s.attempt;

-- store/pausing/release_counts.py: note_unleased
-- Keep how much of a release is queued and not leased; what is left stays as it was counted.
-- Locks: pause_releases.
-- Parameters: unleased=$1, is_waiting=$2, rule_key=$3, started_at=$4, rate=$5.
UPDATE zart.pause_releases
SET unleased_steps = $1::integer + counted_released - released_steps,
    is_waiting = $2::boolean,
    expected_end_at = CASE WHEN NOT $2 THEN expected_end_at END
WHERE rule_key = $3 AND ended_at IS NULL AND started_at = $4
    AND rate_per_second = $5;
