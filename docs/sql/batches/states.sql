-- store/batches/states.py: batches_at_work
-- Return batches of which something is to be prepared or done: first those after a key.
-- Locks: nothing.
SELECT batch_key, zart.last_token()
FROM zart.batches
WHERE status IN ('preparing', 'running')
ORDER BY batch_key <= $1, batch_key LIMIT $2;

-- store/batches/states.py: take_batch
-- Lock a batch to work on it; None if another server does, or there is nothing to do.
-- Locks: nothing.
SELECT pg_try_advisory_xact_lock($1, $2);

-- store/batches/states.py: take_batch
-- Lock a batch to work on it; None if another server does, or there is nothing to do.
-- Locks: batches.
SELECT FROM zart.batches WHERE batch_key = $1 FOR NO KEY UPDATE;

-- store/batches/states.py: take_batch
-- Lock a batch to work on it; None if another server does, or there is nothing to do.
-- Locks: nothing.
SELECT batch_key, batch_id, status, pause_cause, operation, selection, as_of,
    prepared_until, is_prepared, last_item, selected, done, refused, rate_per_second, canary,
    canary_left, max_failures, failures_before, created_by, principal, reason, incident, error,
    created_at, started_at, completed_at, going_since, passed_before, traceparent,
    statement_timestamp() AS now,
    CASE WHEN batches.pause_cause = 'operator'
    OR (batches.status = 'cancelled' AND batches.error = '') THEN (
        SELECT ROW(o.created_at, o.triggered_by, o.principal, o.reason, o.incident) FROM (
            SELECT * FROM zart.operations
            WHERE batch_id <> '' AND kind <> 'start'
                AND (batch_id, operation_key) <= (batches.batch_id, 9223372036854775807)
                AND (batch_id, operation_key) >= (batches.batch_id, 0)
            ORDER BY batch_id DESC, operation_key DESC LIMIT 10000) o
        WHERE o.kind = CASE batches.status
            WHEN 'cancelled' THEN 'cancel_batch' ELSE 'pause_batch' END
        ORDER BY o.batch_id DESC, o.operation_key DESC LIMIT 1)
    END AS stop, CASE WHEN rate_per_second IS NOT NULL THEN LEAST(GREATEST(rate_per_second, 1), CASE WHEN credit_at > statement_timestamp() THEN 1
            ELSE credit + rate_per_second * COALESCE(
                    EXTRACT(epoch FROM statement_timestamp() - credit_at), 0)::float8 END) END AS left
FROM zart.batches
WHERE batch_key = $1
    AND status IN ('preparing', 'running');

-- store/batches/states.py: advance
-- Add to the totals of a batch, take from its credit, and set what it is by that.
-- Locks: batches, which the caller has locked.
-- Parameters: done=$1, refused=$2, credit=$3, taken_at=$4, status=$5, cause=$6, batch_key=$7.
UPDATE zart.batches SET done = done + $1, refused = refused + $2,
    credit = COALESCE($3, credit), credit_at = $4::timestamptz,
    canary_left = canary_left - $1 - $2,
    started_at = COALESCE(started_at, statement_timestamp()),
    going_since = COALESCE(going_since, statement_timestamp()),
    passed_before = COALESCE(passed_before, done + refused + $1 + $2),
    status = $5::text, pause_cause = COALESCE($6::text, ''),
    completed_at = CASE WHEN $5 = 'completed' THEN statement_timestamp() END
WHERE batch_key = $7;

-- store/batches/states.py: set_paused
-- Have nothing done until it is resumed.
-- Locks: batches.
UPDATE zart.batches SET status = 'paused', pause_cause = $2 WHERE batch_key = $1;

-- store/batches/states.py: set_going
-- Have it go on.
-- Locks: batches.
UPDATE zart.batches SET pause_cause = '', failures_before = $2,
    going_since = NULL, passed_before = NULL,
    status = CASE WHEN is_prepared THEN 'running' ELSE 'preparing' END,
    canary_left = CASE WHEN pause_cause <> 'canary' THEN canary_left END
WHERE batch_key = $1;

-- store/batches/states.py: set_failures_before
-- Have so many failures be those from before it was resumed.
-- Locks: batches.
UPDATE zart.batches SET failures_before = $2 WHERE batch_key = $1;

-- store/batches/states.py: set_cancelled
-- End it; its items that are pending are read as cancelled from then on.
-- Locks: batches.
UPDATE zart.batches SET status = 'cancelled', pause_cause = '', error = $2,
    completed_at = statement_timestamp()
WHERE batch_key = $1;

-- store/batches/states.py: change_pace
-- Give it another pace: the credit of the time until now is of the former one.
-- Locks: batches.
UPDATE zart.batches SET max_failures = $3,
    credit = CASE WHEN rate_per_second IS NULL OR $2::float8 IS NULL THEN 1
    ELSE GREATEST(0, LEAST(GREATEST($2, 1), LEAST(GREATEST(rate_per_second, 1), CASE WHEN credit_at > statement_timestamp() THEN 1
            ELSE credit + rate_per_second * COALESCE(
                    EXTRACT(epoch FROM statement_timestamp() - credit_at), 0)::float8 END))) END,
    credit_at = CASE WHEN credit_at IS NOT NULL THEN statement_timestamp() END,
    going_since = CASE WHEN rate_per_second IS NOT DISTINCT FROM $2 THEN going_since END,
    passed_before = CASE WHEN rate_per_second IS NOT DISTINCT FROM $2
    THEN passed_before END,
    rate_per_second = $2::float8
WHERE batch_key = $1;

-- store/batches/states.py: end_preparing
-- Have the items of a prepared batch done; if all are refused already, it is over.
-- Locks: batches.
UPDATE zart.batches SET
    status = CASE WHEN selected = 0 THEN 'cancelled'
    WHEN refused = selected THEN 'completed' ELSE 'running' END,
    started_at = CASE WHEN refused > 0 THEN statement_timestamp() END,
    completed_at = CASE WHEN refused = selected THEN statement_timestamp() END,
    error = CASE WHEN selected = 0 THEN 'nothing matched any more' ELSE '' END
WHERE batch_key = $1 AND status = 'preparing';
