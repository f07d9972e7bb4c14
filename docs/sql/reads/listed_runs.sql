-- store/reads/listed_runs.py: range_of
-- Return the range after an execution of the list (None: from its beginning) within times.
-- Locks: nothing.
SELECT created_at, execution_key
FROM zart.executions
WHERE execution_key <= $1
ORDER BY execution_key DESC LIMIT 1;
