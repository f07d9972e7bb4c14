-- store/reads/few_runs.py: rule_key_of
-- Return the key of a rule that stands, 0: of one that has ended.
-- Locks: nothing.
SELECT rule_key, deleted_at IS NULL FROM zart.pause_rules WHERE rule_id = $1;

-- store/reads/few_runs.py: batch_key_of
-- Return the key of a batch.
-- Locks: nothing.
SELECT batch_key
FROM zart.batches b
WHERE batch_id = $1
    AND (selected = 0 OR EXISTS (SELECT FROM zart.batch_items i WHERE i.batch_key = b.batch_key AND i.item_no = 1 OFFSET 0));

-- store/reads/few_runs.py: keys_of_prefix
-- Return the runs of executions whose id begins as is wanted; None: of too many.
-- Locks: nothing.
-- Parameters: prefix=$1, beyond=$2, most=$3.
SELECT r.run_key FROM (
    SELECT execution_key FROM zart.executions
    WHERE execution_id >= $1::text AND execution_id < $2::text
    ORDER BY execution_id LIMIT $3::bigint) e
CROSS JOIN LATERAL (
    SELECT run_key FROM zart.runs WHERE execution_key = e.execution_key
    ORDER BY run_number DESC LIMIT 1) r;

-- store/reads/few_runs.py: keys_of_batch
-- Return the current runs of the executions of a batch; None: of too many items.
-- Locks: nothing.
-- Parameters: batch_key=$1, most=$2.
SELECT r.run_key FROM (
    SELECT execution_key FROM zart.batch_items
    WHERE batch_key = $1::bigint AND execution_key IS NOT NULL
    LIMIT $2::bigint) i
LEFT JOIN LATERAL (
    SELECT run_key FROM zart.runs WHERE execution_key = i.execution_key
    ORDER BY run_number DESC LIMIT 1) r ON true;

-- store/reads/few_runs.py: count_of_prefix
-- Count the executions whose id begins as is wanted, ``most`` at most.
-- Locks: nothing.
-- Parameters: prefix=$1, beyond=$2, most=$3.
SELECT count(*) FROM (
    SELECT FROM zart.executions
    WHERE execution_id >= $1::text AND execution_id < $2::text
    ORDER BY execution_id LIMIT $3::bigint) e;

-- store/reads/few_runs.py: count_of_batch
-- Count the items of a batch that have an execution, ``most`` at most.
-- Locks: nothing.
-- Parameters: batch_key=$1, most=$2.
SELECT count(*) FROM (
    SELECT FROM zart.batch_items
    WHERE batch_key = $1::bigint AND execution_key >= 0
    ORDER BY batch_key, execution_key LIMIT $2::bigint) i;
