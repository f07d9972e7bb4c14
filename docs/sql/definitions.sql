-- store/definitions.py: lock_task_name
-- Lock a task's row, inserted if missing, and return the key of its current definition.
-- Locks: keys of task_names.
INSERT INTO zart.task_names (task_name) VALUES ($1) ON CONFLICT DO NOTHING;

-- store/definitions.py: lock_task_name
-- Lock a task's row, inserted if missing, and return the key of its current definition.
-- Locks: task_names.
SELECT definition_key FROM zart.task_names WHERE task_name = $1 FOR NO KEY UPDATE;

-- store/definitions.py: set_current
-- Make a definition the current one of its task, whose row the caller has locked.
-- Locks: task_names.
UPDATE zart.task_names SET definition_key = $2 WHERE task_name = $1;

-- store/definitions.py: next_version
-- Return the version that new content gets; the caller has locked the task's row.
-- Locks: nothing.
SELECT COALESCE(max(version), 0) + 1 FROM zart.definitions WHERE task_name = $1 AND version > 0;

-- store/definitions.py: ensure_lanes
-- Return the lane of each handler of tasks' graphs by task and handler; made where missing.
-- Locks: nothing.
INSERT INTO zart.lanes (task_name, handler, step_name) SELECT t, h, s
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY u(t, h, s, n)
WHERE NOT EXISTS (SELECT FROM zart.lanes WHERE task_name = t AND handler = h)
ORDER BY n
ON CONFLICT DO NOTHING;

-- store/definitions.py: ensure_lanes
-- Return the lane of each handler of tasks' graphs by task and handler; made where missing.
-- Locks: lanes.
UPDATE zart.lanes
SET step_name = NULL
WHERE lane = ANY(ARRAY(SELECT lane FROM zart.lanes WHERE lane = ANY($1::integer[]) ORDER BY lane FOR NO KEY UPDATE));

-- store/definitions.py: _find_lanes
-- Return the lanes that there are, each with its only step if it has but one.
-- Locks: nothing.
SELECT task_name, handler, lane, step_name
FROM zart.lanes JOIN unnest($1::text[], $2::text[]) u(t, h)
ON task_name = t
    AND handler = h;

-- store/definitions.py: insert_definitions
-- Store graphs as (task, version, graph) where their content is not there yet; give all.
-- Locks: nothing.
-- Parameters: task_name=$1, version=$2, content_hash=$3, steps=$4, step_names=$5, dep_counts=$6,
--   max_attempts=$7, lanes=$8, timeout_seconds=$9.
INSERT INTO zart.definitions (task_name, version, content_hash, steps, step_names, dep_counts,
        max_attempts, lanes, timeout_seconds)
VALUES ($1, $2, $3, $4, $5, $6,
        $7, $8, $9)
ON CONFLICT DO NOTHING;

-- store/definitions.py: insert_definitions
-- Store graphs as (task, version, graph) where their content is not there yet; give all.
-- Locks: nothing.
SELECT definition_key, d.task_name, version, d.content_hash, lanes
FROM zart.definitions d JOIN unnest($1::text[], $2::bytea[], $3::boolean[]) u(t, h, inline)
ON d.task_name = t
    AND d.content_hash = h
    AND (d.version = 0) = inline;

-- store/definitions.py: find_registered
-- Return the registered definition with this content, None where there is none.
-- Locks: nothing.
SELECT definition_key, version, lanes
FROM zart.definitions
WHERE task_name = $1
    AND content_hash = $2
    AND version > 0;

-- store/definitions.py: current_keys
-- Return the keys of the tasks' current definitions; tasks without one are missing.
-- Locks: nothing.
SELECT task_name, definition_key
FROM zart.task_names
WHERE task_name = ANY($1::text[])
    AND definition_key IS NOT NULL;

-- store/definitions.py: read_definitions
-- Read stored graphs; they never change.
-- Locks: nothing.
SELECT definition_key, task_name, version, steps, lanes
FROM zart.definitions
WHERE definition_key = ANY($1::bigint[]);

-- store/definitions.py: touch_asked
-- Note that dispatchers asked for these tasks now.
-- Locks: keys of task_names.
INSERT INTO zart.task_names (task_name) SELECT t
FROM unnest($1::text[]) t
WHERE NOT EXISTS (SELECT FROM zart.task_names WHERE task_name = t)
ON CONFLICT DO NOTHING;

-- store/definitions.py: touch_asked
-- Note that dispatchers asked for these tasks now.
-- Locks: task_names.
UPDATE zart.task_names
SET last_asked_at = statement_timestamp()
WHERE task_name = ANY(ARRAY(SELECT task_name FROM zart.task_names WHERE task_name = ANY($1::text[]) AND (last_asked_at BETWEEN statement_timestamp() - $2::float8 * interval '1 second' AND statement_timestamp()) IS NOT TRUE ORDER BY task_name FOR NO KEY UPDATE SKIP LOCKED));
