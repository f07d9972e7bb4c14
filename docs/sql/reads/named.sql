-- store/reads/named.py: is_named (runs have)
-- Return whether a current definition, or that of an unfinished execution, has such a step.
-- Locks: nothing.
-- Parameters: run_keys=$1, task_name=$2, regex=$3.
SELECT EXISTS (SELECT FROM (
    SELECT d.task_name, d.step_names FROM (
        SELECT DISTINCT definition_key FROM zart.runs
        WHERE run_key = ANY($1::bigint[])) r
    CROSS JOIN LATERAL (
        SELECT task_name, step_names FROM zart.definitions
        WHERE definition_key = r.definition_key OFFSET 0) d) t
    WHERE ($2::text IS NULL OR t.task_name = $2)
        AND ($3::text IS NULL OR EXISTS (
            SELECT FROM unnest(t.step_names) s(name) WHERE s.name ~ $3)));

-- store/reads/named.py: is_named (lanes may have)
-- Return whether a current definition, or that of an unfinished execution, has such a step.
-- Locks: nothing.
-- Parameters: task_name=$1, regex=$2.
SELECT EXISTS (SELECT FROM zart.lanes l
    WHERE ($1::text IS NULL OR l.task_name = $1)
        AND ($2::text IS NULL OR l.step_name IS NULL OR l.step_name ~ $2));

-- store/reads/named.py: is_named (defined)
-- Return whether a current definition, or that of an unfinished execution, has such a step.
-- Locks: nothing.
-- Parameters: task_name=$1, regex=$2.
SELECT EXISTS (SELECT FROM (
    SELECT n.task_name, d.step_names FROM zart.task_names n CROSS JOIN LATERAL (
        SELECT step_names FROM zart.definitions
        WHERE definition_key = n.definition_key OFFSET 0) d) t
    WHERE ($1::text IS NULL OR t.task_name = $1)
        AND ($2::text IS NULL OR EXISTS (
            SELECT FROM unnest(t.step_names) s(name) WHERE s.name ~ $2)));

-- store/reads/named.py: read_task_names
-- Return the names of tasks, the first of very many.
-- Locks: nothing.
-- Parameters: run_keys=$1.
SELECT task_name FROM (
    SELECT n.task_name, d.step_names FROM zart.task_names n CROSS JOIN LATERAL (
        SELECT step_names FROM zart.definitions
        WHERE definition_key = n.definition_key OFFSET 0) d) t UNION SELECT task_name FROM (
            SELECT d.task_name, d.step_names FROM (
                SELECT DISTINCT definition_key FROM zart.runs
                WHERE run_key = ANY($1::bigint[])) r
            CROSS JOIN LATERAL (
                SELECT task_name, step_names FROM zart.definitions
                WHERE definition_key = r.definition_key OFFSET 0) d) t
ORDER BY task_name LIMIT 5000;

-- store/reads/named.py: read_step_names
-- Return the names of steps, of one task or of all, the first of very many.
-- Locks: nothing.
-- Parameters: run_keys=$1, task_name=$2.
SELECT s.name FROM (SELECT * FROM (
    SELECT n.task_name, d.step_names FROM zart.task_names n CROSS JOIN LATERAL (
        SELECT step_names FROM zart.definitions
        WHERE definition_key = n.definition_key OFFSET 0) d) c UNION ALL SELECT * FROM (
            SELECT d.task_name, d.step_names FROM (
                SELECT DISTINCT definition_key FROM zart.runs
                WHERE run_key = ANY($1::bigint[])) r
            CROSS JOIN LATERAL (
                SELECT task_name, step_names FROM zart.definitions
                WHERE definition_key = r.definition_key OFFSET 0) d) r) t
CROSS JOIN LATERAL unnest(t.step_names) s(name)
WHERE $2::text IS NULL OR t.task_name = $2
GROUP BY s.name ORDER BY s.name LIMIT 5000;

-- store/reads/named.py: find_execution
-- Return an execution as a scope may name it.
-- Locks: nothing.
SELECT e.task_name, r.run_key, r.status, d.step_names FROM (
    SELECT execution_key, task_name FROM zart.executions WHERE execution_id = $1 OFFSET 0) e
CROSS JOIN LATERAL (
    SELECT run_key, status, definition_key FROM zart.runs
    WHERE execution_key = e.execution_key ORDER BY run_number DESC LIMIT 1) r
CROSS JOIN LATERAL (
    SELECT step_names FROM zart.definitions WHERE definition_key = r.definition_key OFFSET 0) d;

-- store/reads/named.py: read_neighbours
-- Return the ids of unfinished executions that stand near to one in their order.
-- Locks: nothing.
SELECT e.execution_id FROM (
    (SELECT execution_key, execution_id FROM zart.executions WHERE execution_id < $1
        ORDER BY execution_id DESC LIMIT 100)
    UNION ALL
    (SELECT execution_key, execution_id FROM zart.executions WHERE execution_id > $1
        ORDER BY execution_id LIMIT 100)) e
CROSS JOIN LATERAL (
    SELECT status FROM zart.runs WHERE execution_key = e.execution_key
    ORDER BY run_number DESC LIMIT 1) r
WHERE r.status IN ('scheduled', 'running');

-- store/reads/named.py: hash_of_pairs
-- Return the hash of the (task, step) pairs that a scope matches.
-- Locks: nothing.
-- Parameters: execution_id=$1, task_name=$2, regex=$3.
SELECT encode(sha256(convert_to(COALESCE(json_agg(
        json_build_array(t.task_name, s.name) ORDER BY t.task_name, s.name)::text, ''), 'UTF8')),
        'hex')
FROM (
    SELECT * FROM (
        SELECT n.task_name, d.step_names FROM zart.task_names n CROSS JOIN LATERAL (
            SELECT step_names FROM zart.definitions
            WHERE definition_key = n.definition_key OFFSET 0) d) c WHERE $1::text IS NULL
    UNION ALL
    SELECT task_name, step_names FROM (
        SELECT e.task_name, r.run_key, r.status, d.step_names FROM (
            SELECT execution_key, task_name FROM zart.executions WHERE execution_id = $1 OFFSET 0) e
        CROSS JOIN LATERAL (
            SELECT run_key, status, definition_key FROM zart.runs
            WHERE execution_key = e.execution_key ORDER BY run_number DESC LIMIT 1) r
        CROSS JOIN LATERAL (
            SELECT step_names FROM zart.definitions WHERE definition_key = r.definition_key OFFSET 0) d
    ) e) t
CROSS JOIN LATERAL unnest(t.step_names) s(name)
WHERE ($2::text IS NULL OR t.task_name = $2)
    AND ($3::text IS NULL OR s.name ~ $3);
