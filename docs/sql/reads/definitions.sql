-- store/reads/definitions.py: list_task_definitions
-- List the current definitions by task_name; the page ends early at 8 MiB.
-- Locks: nothing.
SELECT d.task_name, d.version, n.last_asked_at, d.created_at,
    CASE WHEN bytes <= $3 OR rank = 1 THEN d.steps END AS steps
FROM (
    SELECT n.*, row_number() OVER (ORDER BY task_name) AS rank,
        sum(d.size) OVER (ORDER BY task_name) AS bytes
    FROM (SELECT * FROM zart.task_names WHERE definition_key IS NOT NULL AND task_name > $1
        ORDER BY task_name LIMIT $2) n
    CROSS JOIN LATERAL (
        SELECT octet_length(steps::text) AS size FROM zart.definitions
        WHERE definitions.definition_key = n.definition_key OFFSET 0) d
) n CROSS JOIN LATERAL (
    SELECT * FROM zart.definitions
    WHERE definitions.definition_key = n.definition_key OFFSET 0) d
ORDER BY d.task_name;

-- store/reads/definitions.py: get_task_definition
-- Read one definition of a task; version None: the current one.
-- Locks: nothing.
SELECT d.task_name, d.version, d.steps, n.last_asked_at, d.created_at
FROM zart.task_names n CROSS JOIN LATERAL (
    SELECT * FROM zart.definitions
    WHERE definitions.definition_key = CASE WHEN $2::integer IS NULL THEN n.definition_key
        ELSE (SELECT v.definition_key FROM zart.definitions v
            WHERE v.task_name = n.task_name AND v.version = $2 AND v.version > 0) END
    OFFSET 0) d
WHERE n.task_name = $1;
