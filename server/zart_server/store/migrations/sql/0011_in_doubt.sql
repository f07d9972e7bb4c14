-- Attempts of steps with if_in_doubt STOP that may have had their effect, though they were not
-- reported (docs/adr/0035-in-doubt.md). A row comes in the statement that ends the attempt; it is
-- apart from zart.attempts, since what is found out later changes it, and ended attempts stay as they
-- are. It has names of its execution, so that a list reads nothing else.
CREATE TABLE zart.in_doubt (
    in_doubt_key     bigint GENERATED ALWAYS AS IDENTITY,     -- the order of lists
    run_key          bigint NOT NULL,
    step_no          integer NOT NULL,
    attempt          integer NOT NULL,
    execution_id     text COLLATE "C" NOT NULL,
    task_name        text COLLATE "C" NOT NULL,
    run_number       integer NOT NULL,
    step_name        text COLLATE "C" NOT NULL,
    ended_as         text NOT NULL CHECK (ended_as IN ('lost', 'timed_out', 'abandoned')),
    swept            boolean NOT NULL,                        -- ended by the server, not by a report
    dispatcher_id    text NOT NULL,
    principal        text COLLATE "C" NOT NULL,
    lease_token      bigint NOT NULL,
    started_at       timestamptz NOT NULL,
    ended_at         timestamptz NOT NULL DEFAULT statement_timestamp(),
    finding          text CHECK (finding IN ('happened', 'did_not_happen')),
    resolved_at      timestamptz,                             -- NULL: it is in doubt
    resolved_by      bigint,                                  -- the operation
    reason           text NOT NULL DEFAULT '',                -- that operation's
    late_status      text,                                    -- as its dispatcher reported too late
    late_result      json,
    late_omitted     boolean NOT NULL DEFAULT false,          -- a result that was too large
    late_error       json,
    late_received_at timestamptz,
    PRIMARY KEY (run_key, step_no, attempt),
    CHECK ((resolved_at IS NULL) = (resolved_by IS NULL)),
    CHECK (finding IS NULL OR resolved_at IS NOT NULL)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX in_doubt_unresolved ON zart.in_doubt (in_doubt_key) WHERE resolved_at IS NULL;
CREATE INDEX in_doubt_by_task ON zart.in_doubt (task_name, in_doubt_key) WHERE resolved_at IS NULL;
CREATE INDEX in_doubt_by_execution ON zart.in_doubt (execution_id, in_doubt_key)
    WHERE resolved_at IS NULL;

-- What was resolved stays so; only evidence may still come.
CREATE FUNCTION zart.refuse_resolved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM old_rows o JOIN new_rows n USING (run_key, step_no, attempt)
        WHERE o.resolved_at IS NOT NULL AND (o.finding, o.resolved_at, o.resolved_by, o.reason)
            IS DISTINCT FROM (n.finding, n.resolved_at, n.resolved_by, n.reason)
    ) THEN
        PERFORM zart.refuse('an attempt whose doubt was resolved');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER in_doubt_kept_update AFTER UPDATE ON zart.in_doubt
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_resolved();
CREATE TRIGGER in_doubt_kept_delete AFTER DELETE ON zart.in_doubt
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_any_row('an attempt in doubt');
CREATE TRIGGER in_doubt_kept_truncate BEFORE TRUNCATE ON zart.in_doubt
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_always('attempts in doubt');

CREATE VIEW public.zart_in_doubt AS
SELECT execution_id, run_number, step_name, attempt, task_name, ended_as, dispatcher_id, principal,
       started_at, ended_at, finding, resolved_at, resolved_by AS resolved_by_operation_id, reason,
       late_status, late_result AS late_result_json, late_error, late_received_at
FROM zart.in_doubt;
