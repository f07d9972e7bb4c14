-- An operator may correct the input of a step, for one run from then on. The corrections of a step
-- are counted from 1 in each run. Their number stands in the step's row, and travels with the task
-- through queue, pause, lease and backoff: whoever leases it knows which input it is for, and by
-- which key its effects are known, with nothing looked up where there is none.

CREATE TABLE zart.step_inputs (
    run_key    bigint NOT NULL,
    step_no    integer NOT NULL,
    correction integer NOT NULL CHECK (correction >= 1),
    input      json NOT NULL,
    PRIMARY KEY (run_key, step_no, correction)
);

CREATE TRIGGER step_inputs_kept_update AFTER UPDATE ON zart.step_inputs
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_any_row('the corrected input of a step');
CREATE TRIGGER step_inputs_kept_delete AFTER DELETE ON zart.step_inputs
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_any_row('the corrected input of a step');
CREATE TRIGGER step_inputs_kept_truncate BEFORE TRUNCATE ON zart.step_inputs
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_always('corrected inputs of steps');

-- NULL and 0: the input is that of the definition. None of these writes a row anew.
ALTER TABLE zart.steps ADD COLUMN correction integer;
ALTER TABLE zart.queue ADD COLUMN correction integer NOT NULL DEFAULT 0;
ALTER TABLE zart.held ADD COLUMN correction integer NOT NULL DEFAULT 0;
ALTER TABLE zart.leases ADD COLUMN correction integer NOT NULL DEFAULT 0;

CREATE VIEW public.zart_step_inputs AS
SELECT e.execution_id, r.run_number, e.execution_id || ':run:' || r.run_number AS run_id,
       d.step_names[i.step_no + 1] AS step_name, i.correction, i.input AS input_json
FROM zart.step_inputs i
JOIN zart.runs r USING (run_key)
JOIN zart.executions e USING (execution_key)
JOIN zart.definitions d USING (definition_key);
