-- What is history stays as it was. Statement-level triggers with transition tables: a trigger per
-- row would cost more than the update it guards. The door for purging whole finished executions is
-- local to a transaction: SET LOCAL zart.purge = 'on'.

CREATE FUNCTION zart.refuse(what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('zart.purge', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION '% cannot be changed or deleted', what USING ERRCODE = 'restrict_violation';
    END IF;
END $$;

CREATE FUNCTION zart.refuse_always() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM zart.refuse(TG_ARGV[0]);
    RETURN NULL;
END $$;

CREATE FUNCTION zart.refuse_any_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM old_rows) THEN
        PERFORM zart.refuse(TG_ARGV[0]);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION zart.refuse_past_runs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM old_rows WHERE NOT is_current) THEN
        PERFORM zart.refuse('a run that is not current');
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION zart.refuse_past_steps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM old_rows JOIN zart.runs USING (run_key) WHERE NOT is_current) THEN
        PERFORM zart.refuse('a step of a run that is not current');
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION zart.refuse_deleted_rules() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM old_rows WHERE deleted_at IS NOT NULL) THEN
        PERFORM zart.refuse('a deleted pause rule');
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER executions_kept_update AFTER UPDATE ON zart.executions
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_any_row('an execution');
CREATE TRIGGER executions_kept_delete AFTER DELETE ON zart.executions
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_any_row('an execution');
CREATE TRIGGER runs_kept_update AFTER UPDATE ON zart.runs
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_past_runs();
CREATE TRIGGER runs_kept_delete AFTER DELETE ON zart.runs
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_any_row('a run');
CREATE TRIGGER steps_kept_update AFTER UPDATE ON zart.steps
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_past_steps();
CREATE TRIGGER steps_kept_delete AFTER DELETE ON zart.steps
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_any_row('a step');
CREATE TRIGGER attempts_kept_update AFTER UPDATE ON zart.attempts
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_any_row('an ended attempt');
CREATE TRIGGER attempts_kept_delete AFTER DELETE ON zart.attempts
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_any_row('an ended attempt');
CREATE TRIGGER operations_kept_update AFTER UPDATE ON zart.operations
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_any_row('an operation');
CREATE TRIGGER operations_kept_delete AFTER DELETE ON zart.operations
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_any_row('an operation');
CREATE TRIGGER pause_rules_kept_update AFTER UPDATE ON zart.pause_rules
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_deleted_rules();
CREATE TRIGGER pause_rules_kept_delete AFTER DELETE ON zart.pause_rules
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_any_row('a pause rule');

CREATE TRIGGER executions_kept_truncate BEFORE TRUNCATE ON zart.executions
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_always('executions');
CREATE TRIGGER runs_kept_truncate BEFORE TRUNCATE ON zart.runs
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_always('runs');
CREATE TRIGGER steps_kept_truncate BEFORE TRUNCATE ON zart.steps
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_always('steps');
CREATE TRIGGER attempts_kept_truncate BEFORE TRUNCATE ON zart.attempts
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_always('attempts');
CREATE TRIGGER operations_kept_truncate BEFORE TRUNCATE ON zart.operations
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_always('operations');
CREATE TRIGGER pause_rules_kept_truncate BEFORE TRUNCATE ON zart.pause_rules
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_always('pause rules');
