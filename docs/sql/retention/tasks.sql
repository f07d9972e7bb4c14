-- store/retention/tasks.py: set_task_retention
-- Set for how long finished executions of a task are kept; None: for ever.
-- Locks: nothing.
-- Parameters: task_name=$1, keep=$2, triggered_by=$3, principal=$4, reason=$5, incident=$6.
INSERT INTO zart.task_retention (task_name, keep, triggered_by, principal, reason, incident)
VALUES ($1, $2::interval, $3, $4, $5, $6)
ON CONFLICT (task_name) DO UPDATE SET keep = EXCLUDED.keep, set_at = statement_timestamp(),
    triggered_by = EXCLUDED.triggered_by, principal = EXCLUDED.principal,
    reason = EXCLUDED.reason, incident = EXCLUDED.incident
RETURNING task_name, keep, set_at, triggered_by, principal, reason, incident;

-- store/retention/tasks.py: unset_task_retention
-- Have what the servers are set to hold of a task; return what held before, if anything.
-- Locks: nothing.
DELETE
FROM zart.task_retention
WHERE task_name = $1
RETURNING task_name, keep, set_at, triggered_by, principal, reason, incident;

-- store/retention/tasks.py: read_kept
-- Return the time, and for how long finished executions are kept by task, where that is set.
-- Locks: nothing.
SELECT statement_timestamp(), t.task_name, t.keep
FROM (SELECT) one LEFT JOIN zart.task_retention t
ON true;

-- store/retention/tasks.py: read_kept_of
-- Return for how long finished executions of a task are kept; it stays so for this transaction.
-- Locks: nothing.
SELECT keep FROM zart.task_retention WHERE task_name = $1;

-- store/retention/tasks.py: list_task_retention
-- List what is set by task, by name.
-- Locks: nothing.
SELECT task_name, keep, set_at, triggered_by, principal, reason, incident
FROM zart.task_retention
WHERE task_name > $1
ORDER BY task_name LIMIT $2;
