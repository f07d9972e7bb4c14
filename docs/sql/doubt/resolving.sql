-- store/doubt/resolving.py: resolve_by_operation
-- Resolve what is in doubt of steps, by the operation on each that was recorded just now.
-- Locks: in_doubt.
UPDATE zart.in_doubt d SET resolved_at = statement_timestamp(),
    resolved_by = o.operation_key, reason = o.reason
FROM unnest($1::bigint[], $2::integer[], $3::text[]) u(run_key, step_no, execution_id)
CROSS JOIN LATERAL (
    SELECT operation_key, reason FROM zart.operations
    WHERE operations.execution_id = u.execution_id AND kind = $4
    ORDER BY operation_key DESC LIMIT 1) o
WHERE d.run_key = ANY(ARRAY[u.run_key]) AND d.step_no = u.step_no AND d.resolved_at IS NULL;
