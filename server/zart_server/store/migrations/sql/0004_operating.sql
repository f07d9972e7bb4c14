-- Operating at scale. Pausing: what a rule matches is found by index, and what changed of the rules
-- is read without reading all of them. Restarting: a long payload is not copied.

-- The epoch in which a rule was added or deleted last.
ALTER TABLE zart.pause_rules ADD COLUMN epoch bigint NOT NULL DEFAULT 0;
CREATE INDEX pause_rules_by_epoch ON zart.pause_rules (epoch);

-- The only step that a lane's tasks are of, NULL where there are several. Most lanes have one: then
-- a rule matches all of its tasks or none, and nobody has to look at them.
ALTER TABLE zart.lanes ADD COLUMN step_name text COLLATE "C";
UPDATE zart.lanes l SET step_name = sole.step_name FROM (
    SELECT s.lane, min(s.step_name) AS step_name
    FROM zart.definitions d CROSS JOIN LATERAL unnest(d.lanes, d.step_names) s(lane, step_name)
    GROUP BY s.lane HAVING min(s.step_name) = max(s.step_name)) sole
WHERE l.lane = sole.lane;

-- With it the arrays of a definition have all that the queue rows of its steps have.
ALTER TABLE zart.definitions ADD COLUMN timeout_seconds double precision[];
UPDATE zart.definitions SET timeout_seconds = ARRAY(
    SELECT (s.step->>'timeout_us')::float8 / 1e6
    FROM json_array_elements(steps) WITH ORDINALITY s(step, n) ORDER BY n);
ALTER TABLE zart.definitions ALTER COLUMN timeout_seconds SET NOT NULL;

CREATE INDEX held_by_lane ON zart.held (lane, not_before, queue_no);

-- Shares the pause lock until the transaction ends, and gives the epoch as it stays until then:
-- what a lock guards is read by a later statement than the one that takes it, and each statement of
-- such a function has a snapshot of its own.
CREATE FUNCTION zart.shared_epoch(pause_lock bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(pause_lock);
    RETURN (SELECT epoch FROM zart.pause_epoch);
END $$;

-- Where the payload stands that this run has in common with an earlier one, if it is long.
ALTER TABLE zart.runs ADD COLUMN payload_run_key bigint;

CREATE OR REPLACE VIEW public.zart_execution_runs AS
SELECT e.execution_id || ':run:' || r.run_number AS run_id, e.execution_id, r.run_number, r.status,
       r."trigger", r.triggered_by, r.reason, d.version AS definition_version, r.source_run_number,
       COALESCE(r.payload, p.payload) AS payload_json, r.error, r.created_at, r.started_at,
       r.completed_at, r.principal
FROM zart.runs r JOIN zart.executions e USING (execution_key)
JOIN zart.definitions d USING (definition_key)
LEFT JOIN zart.runs p ON p.run_key = r.payload_run_key;
