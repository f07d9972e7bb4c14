-- store/retention/operations.py: remove_operations (remove operations)
-- Remove, of the next operations, or attempts at some, those that are older than a time.
-- Locks: operations.
-- Parameters: before=$1, after=$2, limit=$3.
WITH page AS MATERIALIZED (
    SELECT operation_key, created_at < $1::timestamptz AS is_old FROM zart.operations
    WHERE operation_key > $2::bigint ORDER BY operation_key LIMIT $3::bigint
), gone AS (
    DELETE FROM zart.operations WHERE operation_key = ANY(ARRAY(
        SELECT operation_key FROM page WHERE is_old))
    RETURNING operation_key
)
SELECT (SELECT count(*) FROM gone), max(operation_key), count(*) = $3,
    CASE WHEN max(operation_key) FILTER (WHERE is_old) = max(operation_key)
    THEN max(operation_key)
    ELSE COALESCE(min(operation_key) FILTER (WHERE NOT is_old) - 1, $2) END
FROM page;

-- store/retention/operations.py: remove_operations (remove operation_attempts)
-- Remove, of the next operations, or attempts at some, those that are older than a time.
-- Locks: operation_attempts.
-- Parameters: before=$1, after=$2, limit=$3.
WITH page AS MATERIALIZED (
    SELECT operation_key, created_at < $1::timestamptz AS is_old FROM zart.operation_attempts
    WHERE operation_key > $2::bigint ORDER BY operation_key LIMIT $3::bigint
), gone AS (
    DELETE FROM zart.operation_attempts WHERE operation_key = ANY(ARRAY(
        SELECT operation_key FROM page WHERE is_old))
    RETURNING operation_key
)
SELECT (SELECT count(*) FROM gone), max(operation_key), count(*) = $3,
    CASE WHEN max(operation_key) FILTER (WHERE is_old) = max(operation_key)
    THEN max(operation_key)
    ELSE COALESCE(min(operation_key) FILTER (WHERE NOT is_old) - 1, $2) END
FROM page;

-- store/retention/operations.py: remove_batches
-- Remove some items of a batch that ended before a time, the batch with its last ones.
-- Locks: batch_items; batches.
-- Parameters: before=$1, limit=$2.
WITH wanted AS MATERIALIZED (
    SELECT b.batch_id FROM unnest(ARRAY['preparing', 'running', 'paused']) s(status)
    CROSS JOIN LATERAL (
        SELECT (selection->>'filter')::json->>'batch_id' AS batch_id FROM zart.batches
        WHERE status = s.status AND NOT is_prepared OFFSET 0) b
), ended AS MATERIALIZED (
    SELECT b.* FROM unnest(ARRAY['completed', 'cancelled']) s(status) CROSS JOIN LATERAL (
        SELECT batch_key, batch_id, completed_at FROM zart.batches
        WHERE status = s.status ORDER BY status, batch_key LIMIT 100) b
    WHERE completed_at < $1::timestamptz
        AND NOT EXISTS (SELECT FROM wanted w WHERE w.batch_id = b.batch_id OFFSET 0)
    ORDER BY batch_key LIMIT 1
), items AS MATERIALIZED (
    SELECT i.* FROM ended e CROSS JOIN LATERAL (
        SELECT batch_key, item_no FROM zart.batch_items WHERE batch_key = e.batch_key
        ORDER BY batch_key, item_no LIMIT $2::bigint) i
), gone AS (
    DELETE FROM zart.batch_items WHERE ctid = ANY(ARRAY(
        SELECT i.row FROM items CROSS JOIN LATERAL (
            SELECT ctid AS row FROM zart.batch_items
            WHERE batch_key = items.batch_key AND item_no = items.item_no OFFSET 0) i))
), emptied AS (
    DELETE FROM zart.batches WHERE batch_key = ANY(ARRAY(
        SELECT batch_key FROM ended e
        WHERE (SELECT count(*) FROM items WHERE items.batch_key = e.batch_key) < $2))
)
SELECT count(*) FROM ended;
