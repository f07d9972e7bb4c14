-- store/reads/operations.py: _read
-- Return the operations before one, newest first: of one execution, or of all.
-- Locks: nothing.
SELECT o.*
FROM unnest($3::text[]) k(kind)
CROSS JOIN LATERAL (SELECT * FROM zart.operations WHERE (execution_id, kind, operation_key) < ($4::text, k.kind, $1::bigint) AND (execution_id, kind, operation_key) >= ($4, k.kind, 0) ORDER BY execution_id DESC, kind DESC, operation_key DESC LIMIT $2::bigint) o
ORDER BY operation_key DESC LIMIT $2;

-- store/reads/operations.py: _read
-- Return the operations before one, newest first: of one execution, or of all.
-- Locks: nothing.
WITH first AS MATERIALIZED (SELECT * FROM zart.operations WHERE operation_key < $1::bigint ORDER BY operation_key DESC LIMIT 5000)
SELECT o.*, until FROM (
    SELECT CASE count(*) WHEN 5000 THEN min(operation_key) END AS until FROM first) e
LEFT JOIN LATERAL (
    SELECT * FROM first WHERE kind = 'start' ORDER BY operation_key DESC LIMIT $2::bigint
) o ON true;

-- store/reads/operations.py: _read
-- Return the operations before one, newest first: of one execution, or of all.
-- Locks: nothing.
SELECT *
FROM zart.operations
WHERE kind <> 'start'
    AND (kind, operation_key) < ($3::text, $1::bigint)
    AND (kind, operation_key) >= ($3, 0)
ORDER BY kind DESC, operation_key DESC LIMIT $2::bigint;

-- store/reads/operations.py: _read
-- Return the operations before one, newest first: of one execution, or of all.
-- Locks: nothing.
SELECT *
FROM zart.operations
WHERE operation_key < $1::bigint
ORDER BY operation_key DESC LIMIT $2::bigint;
