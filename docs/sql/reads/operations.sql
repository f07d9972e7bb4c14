-- store/reads/operations.py: _read (of execution)
-- Return the operations before one, newest first: of one execution, or of all.
-- Locks: nothing.
-- Parameters: kinds=$1, execution_id=$2, before=$3, limit=$4.
SELECT o.* FROM unnest($1::text[]) k(kind) CROSS JOIN LATERAL (
    SELECT *
    FROM zart.operations
    WHERE (execution_id, kind, operation_key) < ($2::text, k.kind, $3::bigint)
        AND (execution_id, kind, operation_key) >= ($2, k.kind, 0)
    ORDER BY execution_id DESC, kind DESC, operation_key DESC LIMIT $4::bigint
) o ORDER BY operation_key DESC LIMIT $4;

-- store/reads/operations.py: _read (starts)
-- Return the operations before one, newest first: of one execution, or of all.
-- Locks: nothing.
-- Parameters: before=$1, limit=$2.
WITH first AS MATERIALIZED (
    SELECT * FROM zart.operations WHERE operation_key < $1::bigint
    ORDER BY operation_key DESC LIMIT 5000
)
SELECT o.*, until FROM (
    SELECT CASE count(*) WHEN 5000 THEN min(operation_key) END AS until FROM first) e
LEFT JOIN LATERAL (
    SELECT * FROM first WHERE kind = 'start' ORDER BY operation_key DESC LIMIT $2::bigint
) o ON true;

-- store/reads/operations.py: _read (of kind)
-- Return the operations before one, newest first: of one execution, or of all.
-- Locks: nothing.
-- Parameters: kind=$1, before=$2, limit=$3.
SELECT *
FROM zart.operations
WHERE kind <> 'start'
    AND (kind, operation_key) < ($1::text, $2::bigint)
    AND (kind, operation_key) >= ($1, 0)
ORDER BY kind DESC, operation_key DESC LIMIT $3::bigint;

-- store/reads/operations.py: _read (all)
-- Return the operations before one, newest first: of one execution, or of all.
-- Locks: nothing.
-- Parameters: before=$1, limit=$2.
SELECT * FROM zart.operations WHERE operation_key < $1::bigint
ORDER BY operation_key DESC LIMIT $2::bigint;
