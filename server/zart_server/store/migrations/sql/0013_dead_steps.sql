-- Dead steps of current runs, by the group of their error and in the order of lists, so that filters
-- and groups are answered by an index (docs/adr/0036-dead-steps-apart.md). Apart from zart.steps,
-- where another index would end HOT updates.

-- Kinds of errors by task and step. The key is a hash of these and of the group's id, so that it is
-- known without being looked up. Nothing is deleted here.
CREATE TABLE zart.error_groups (
    group_key      bigint PRIMARY KEY,
    error_group_id text COLLATE "C" NOT NULL,
    task_name      text COLLATE "C" NOT NULL,
    step_name      text COLLATE "C" NOT NULL,
    type           text NOT NULL,
    template       text NOT NULL,
    first_seen     timestamptz NOT NULL DEFAULT statement_timestamp()
);
CREATE INDEX error_groups_by_id ON zart.error_groups (error_group_id, group_key);
CREATE INDEX error_groups_by_task ON zart.error_groups (task_name, group_key);

CREATE TABLE zart.dead_steps (
    run_key       bigint NOT NULL,
    step_no       integer NOT NULL,
    execution_key bigint NOT NULL,
    group_key     bigint,                      -- NULL: not told yet
    listed_at     timestamptz NOT NULL,        -- the run's
    died_at       timestamptz NOT NULL,
    PRIMARY KEY (run_key, step_no)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX dead_steps_in_order ON zart.dead_steps (group_key, listed_at, execution_key);
-- Said in such a way that no order but its own can be thought to be asked of it.
CREATE INDEX dead_steps_by_time ON zart.dead_steps ((group_key + 0), died_at);
CREATE INDEX dead_steps_not_told ON zart.dead_steps (step_no) WHERE group_key IS NULL;

-- How many rows zart.dead_steps has of a run: whoever writes them counts them here in the same
-- statement. Whoever does not, as a server of an earlier version, leaves the two numbers apart.
ALTER TABLE zart.runs ADD COLUMN dead_listed integer NOT NULL DEFAULT 0;

CREATE FUNCTION zart.list_dead_steps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM zart.dead_steps d
    WHERE d.run_key = NEW.run_key AND (NOT NEW.is_current OR NOT EXISTS (
        SELECT FROM zart.steps s
        WHERE s.run_key = d.run_key AND s.step_no = d.step_no AND s.status = 'dead'));
    IF NEW.is_current THEN
        INSERT INTO zart.dead_steps (run_key, step_no, execution_key, listed_at, died_at)
        SELECT s.run_key, s.step_no, NEW.execution_key, NEW.listed_at, s.completed_at
        FROM zart.steps s WHERE s.run_key = NEW.run_key AND s.status = 'dead'
        ON CONFLICT (run_key, step_no) DO NOTHING;
        UPDATE zart.runs SET dead_listed = dead_steps WHERE run_key = NEW.run_key;
    END IF;
    RETURN NULL;
END $$;
-- After the update and for these columns only, so that no other change of a run pays for it.
CREATE TRIGGER runs_list_dead_steps AFTER UPDATE OF dead_steps, is_current ON zart.runs
    FOR EACH ROW WHEN (CASE WHEN NEW.is_current THEN NEW.dead_listed <> NEW.dead_steps
                            ELSE OLD.is_current AND OLD.dead_listed > 0 END)
    EXECUTE FUNCTION zart.list_dead_steps();

CREATE FUNCTION zart.purge_dead_steps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM zart.dead_steps
    WHERE run_key = ANY(ARRAY(SELECT run_key FROM old_rows WHERE dead_listed > 0));
    RETURN NULL;
END $$;
CREATE TRIGGER runs_purge_dead_steps AFTER DELETE ON zart.runs
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.purge_dead_steps();

INSERT INTO zart.dead_steps (run_key, step_no, execution_key, listed_at, died_at)
SELECT s.run_key, s.step_no, r.execution_key, r.listed_at, s.completed_at
FROM zart.runs r JOIN zart.steps s USING (run_key)
WHERE r.is_current AND r.dead_steps > 0 AND s.status = 'dead';
UPDATE zart.runs SET dead_listed = dead_steps WHERE is_current AND dead_steps > 0;
