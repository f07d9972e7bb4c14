-- Lists: each page is read by an index that has the order of the list, whatever the filter, so that
-- a page costs what it has and an empty one nothing. A run says of its execution what lists ask for.
ALTER TABLE zart.runs
    ADD COLUMN listed_task text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN listed_at timestamptz NOT NULL DEFAULT statement_timestamp();
SET LOCAL zart.purge = 'on';
UPDATE zart.runs r SET listed_task = e.task_name, listed_at = e.created_at
FROM zart.executions e WHERE e.execution_key = r.execution_key;
SET LOCAL zart.purge = 'off';

-- A server of an earlier version, while it is being replaced, begins runs and says nothing of this.
-- Such a run's execution may come with it, in the same statement: a volatile function sees it.
CREATE FUNCTION zart.list_run() RETURNS trigger LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    SELECT task_name, created_at INTO STRICT NEW.listed_task, NEW.listed_at
    FROM zart.executions WHERE execution_key = NEW.execution_key;
    RETURN NEW;
END $$;
CREATE TRIGGER runs_listed BEFORE INSERT ON zart.runs
    FOR EACH ROW WHEN (NEW.listed_task = '') EXECUTE FUNCTION zart.list_run();

CREATE INDEX runs_by_status ON zart.runs (status, listed_at, execution_key)
    WHERE is_current;
CREATE INDEX runs_by_task ON zart.runs (listed_task, status, listed_at, execution_key)
    WHERE is_current;
DROP INDEX zart.runs_ended_badly;
DROP INDEX zart.executions_by_task;

-- Said in such a way that no other index can be thought to serve as well.
DROP INDEX zart.runs_with_dead_steps;
CREATE INDEX runs_with_dead_steps ON zart.runs (status, listed_at, execution_key)
    WHERE CASE WHEN is_current THEN dead_steps ELSE 0 END > 0;
CREATE INDEX runs_with_dead_steps_by_task
    ON zart.runs (listed_task, status, listed_at, execution_key)
    WHERE CASE WHEN is_current THEN dead_steps ELSE 0 END > 0;

DROP INDEX zart.operations_by_execution;
CREATE INDEX operations_by_execution ON zart.operations (execution_id, kind, operation_key);

CREATE INDEX pause_rules_in_order ON zart.pause_rules ((deleted_at IS NULL), rule_key);
CREATE INDEX pause_rules_by_execution ON zart.pause_rules (execution_id, rule_key)
    WHERE execution_id IS NOT NULL;
CREATE INDEX pause_rules_by_task ON zart.pause_rules (task_name, rule_key)
    WHERE task_name IS NOT NULL;
CREATE INDEX pause_rules_by_pattern ON zart.pause_rules (step_pattern, rule_key)
    WHERE step_pattern IS NOT NULL;

CREATE INDEX task_names_defined ON zart.task_names (task_name) WHERE definition_key IS NOT NULL;
