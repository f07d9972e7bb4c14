-- store/batches/rows.py: find_batches
-- Return those of the batches that there are.
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
    END AS stop FROM zart.batches WHERE batch_id = ANY($1::text[]);

-- store/batches/rows.py: is_being_prepared
-- Return whether a batch may still get items; no batch does not.
-- Locks: nothing.
SELECT EXISTS (SELECT FROM zart.batches WHERE batch_id = $1 AND NOT is_prepared AND status <> 'cancelled');

-- store/batches/rows.py: batch_of_key
-- Return a batch by its key.
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
    END AS stop FROM zart.batches WHERE batch_key = $1;

-- store/batches/rows.py: ids_of
-- Return some of the ids that a batch was created with.
-- Locks: nothing.
SELECT execution_ids[$2 + 1:$2 + $3] FROM zart.batches WHERE batch_key = $1;

-- store/batches/rows.py: lock_batch
-- Lock a batch, and return it as it is then: nothing of it is done meanwhile.
-- Locks: batches.
SELECT FROM zart.batches WHERE batch_id = $1 FOR NO KEY UPDATE;

-- store/batches/rows.py: list_batches
-- List batches with one of the statuses, or with any, newest first.
-- Locks: nothing.
-- Parameters: statuses=$1, before=$2, limit=$3, page_bytes=$4.
WITH found AS (
    SELECT b.* FROM unnest($1::text[]) s(status) CROSS JOIN LATERAL (
        SELECT batch_key, batch_id, status, pause_cause, operation, selection, as_of,
            prepared_until, is_prepared, last_item, selected, done, refused, rate_per_second, canary,
            canary_left, max_failures, failures_before, created_by, principal, reason, incident, error,
            created_at, started_at, completed_at, going_since, passed_before, traceparent,
            statement_timestamp() AS now FROM zart.batches
        WHERE (batches.status, batch_key) < (s.status, $2::bigint)
            AND batches.status = s.status
        ORDER BY batches.status DESC, batch_key DESC LIMIT $3::integer) b
    ORDER BY batch_key DESC LIMIT $3
)
SELECT batches.*,
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
    END AS stop FROM (
        SELECT * FROM (
            SELECT *, count(*) OVER () AS n_rows, sum(octet_length(operation::text) + octet_length(selection::text)) OVER (
                ORDER BY batch_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
            FROM found) sized
        WHERE COALESCE(bytes_before, 0) <= $4::bigint
    ) batches
ORDER BY batches.batch_key DESC;

-- store/batches/rows.py: insert_batch
-- Insert a batch without items.
-- Locks: nothing.
-- Parameters: batch_id=$1, operation=$2, selection=$3, execution_ids=$4, as_of=$5, rate=$6,
--   canary=$7, max_failures=$8, created_by=$9, principal=$10, reason=$11, incident=$12,
--   traceparent=$13.
INSERT INTO zart.batches (batch_id, operation, selection, execution_ids, as_of,
        rate_per_second, canary, canary_left, max_failures, created_by, principal, reason, incident,
        traceparent)
VALUES ($1, $2::text::json, $3::text::json, $4::text[],
        COALESCE($5::timestamptz, statement_timestamp()), $6, $7::integer,
        $7::integer, $8, $9, $10, $11, $12,
        $13);
