-- Hold and release (docs/operating.md). A rule that is to be leaned on says whom it exempts, what it
-- has let go, and between which lease tokens it stood, so that what ran meanwhile can be judged.

ALTER TABLE zart.pause_rules
    ADD COLUMN incident text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN breaker_id text COLLATE "C" NOT NULL DEFAULT '',
    -- Steps a second at which its steps are released when it expires; NULL: all at once.
    ADD COLUMN expiry_rate double precision,
    -- The last token given out before it was in force, and before it was deleted: both read under
    -- the exclusive pause lock, when no claim is under way. NULL: from before there was this column.
    ADD COLUMN token_from bigint,
    ADD COLUMN token_until bigint;

-- Executions that a rule does not match, kept for the receipt. An attempt was exempt if its token is
-- beyond token_from and not beyond token_until.
CREATE TABLE zart.pause_exemptions (
    rule_key     bigint NOT NULL,
    execution_id text COLLATE "C" NOT NULL,
    token_from   bigint NOT NULL,
    token_until  bigint,                     -- NULL: it is exempt
    PRIMARY KEY (rule_key, execution_id, token_from)
);
CREATE UNIQUE INDEX pause_exemptions_standing ON zart.pause_exemptions (rule_key, execution_id)
    WHERE token_until IS NULL;

-- The state of a rule that ends slowly. Apart from the rule, so that the sweep that writes it, under
-- the shared pause lock and the rule's advisory lock, keeps nobody from reading or ending the rule.
CREATE TABLE zart.pause_releases (
    rule_key         bigint PRIMARY KEY,
    rate_per_second  double precision NOT NULL,
    credit           double precision NOT NULL,   -- steps that might go at credit_at
    credit_at        timestamptz,                 -- NULL: the pace has not begun
    released_steps   integer NOT NULL DEFAULT 0,  -- for credit
    -- As the sweep counted them at counted_at: what it released and nobody has leased, and what is
    -- left; and how many it had released until then.
    unleased_steps   integer NOT NULL DEFAULT 0,
    paused_steps     integer NOT NULL DEFAULT 0,
    counted_released integer NOT NULL DEFAULT 0,
    counted_at       timestamptz,
    is_waiting       boolean NOT NULL DEFAULT false,  -- for dispatchers to lease what it released
    expected_end_at  timestamptz,                 -- NULL: what is left does not become less
    started_at       timestamptz NOT NULL DEFAULT statement_timestamp(),
    started_by       text NOT NULL,
    principal        text NOT NULL,
    reason           text NOT NULL,
    incident         text COLLATE "C" NOT NULL,
    ended_at         timestamptz                  -- NULL: the rule is RELEASING
);
CREATE UNIQUE INDEX pause_releases_standing ON zart.pause_releases (rule_key)
    WHERE ended_at IS NULL;

-- Steps that are to be released of a rule once it is settled: it was asked for a canary before.
CREATE TABLE zart.pause_canaries (
    rule_key    bigint PRIMARY KEY,
    steps       integer NOT NULL
);

-- Attempts that a rule has let go while it still matches their step. What does not complete its step
-- is withheld again, since the next attempt has no row here. Those of attempts that were leased are
-- closed in passing, so that few stand.
CREATE TABLE zart.released_steps (
    rule_key    bigint NOT NULL,
    run_key     bigint NOT NULL,
    step_no     integer NOT NULL,
    attempt     integer NOT NULL,
    token_from  bigint NOT NULL,
    token_until bigint,                      -- NULL: it was neither leased nor taken back, or may be
    released_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (rule_key, run_key, step_no, attempt)
);
-- Without the rule, so that it cannot be taken for what is asked of a rule.
CREATE INDEX released_steps_by_attempt ON zart.released_steps (run_key, step_no, attempt);
-- For what stands of a rule, which says it in these words: whoever looks up an attempt, IS NULL, is
-- never offered this index, in which all attempts of a rule are one key.
CREATE INDEX released_steps_standing ON zart.released_steps (rule_key)
    WHERE COALESCE(token_until, -1) = -1;

-- Since when nothing that a rule withholds is in flight: a row for each rule, from its creation on.
CREATE TABLE zart.pause_drains (
    rule_key    bigint PRIMARY KEY,
    drained_at  timestamptz,                 -- NULL: something is in flight, or may be
    undrained   integer NOT NULL DEFAULT 0,  -- how often it has let go steps, or exempts some no longer
    is_recorded boolean NOT NULL DEFAULT false
);
CREATE INDEX pause_drains_awaited ON zart.pause_drains (rule_key) WHERE drained_at IS NULL;
INSERT INTO zart.pause_drains (rule_key)
SELECT rule_key FROM zart.pause_rules WHERE deleted_at IS NULL;

-- Whoever adds a rule, a server of an earlier version too.
CREATE FUNCTION zart.await_drains() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO zart.pause_drains (rule_key) SELECT rule_key FROM new_rows;
    RETURN NULL;
END $$;
CREATE TRIGGER pause_rules_await_drains AFTER INSERT ON zart.pause_rules
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.await_drains();

-- Work may be of one execution (whose exemption was added or removed), or of the steps that a rule
-- had released and has taken back.
ALTER TABLE zart.pause_work
    ADD COLUMN execution_id text COLLATE "C" NOT NULL DEFAULT '',   -- '': of all that it matches
    ADD COLUMN of_released boolean NOT NULL DEFAULT false,
    -- Tells it from the same work that was done before, of which a server may still know a part.
    ADD COLUMN work_no bigint GENERATED ALWAYS AS IDENTITY,
    DROP CONSTRAINT pause_work_pkey,
    ADD PRIMARY KEY (rule_key, work, execution_id, of_released);

ALTER TABLE zart.operations
    ADD COLUMN incident text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN batch_id text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN breaker_id text COLLATE "C" NOT NULL DEFAULT '';
-- What operators ask for is never a start, of which there are as many as executions. By time they are
-- found by their keys, which are given out in its order.
CREATE INDEX operations_by_triggered_by ON zart.operations (triggered_by, operation_key)
    WHERE triggered_by <> '' AND kind <> 'start';
CREATE INDEX operations_by_principal ON zart.operations (principal, operation_key)
    WHERE principal <> '' AND kind <> 'start';
CREATE INDEX operations_by_incident ON zart.operations (incident, operation_key)
    WHERE incident <> '' AND kind <> 'start';
CREATE INDEX operations_by_rule ON zart.operations (rule_id, operation_key)
    WHERE rule_id <> '' AND kind <> 'start';
CREATE INDEX operations_by_batch ON zart.operations (batch_id, operation_key)
    WHERE batch_id <> '' AND kind <> 'start';
CREATE INDEX operations_by_breaker ON zart.operations (breaker_id, operation_key)
    WHERE breaker_id <> '' AND kind <> 'start';
CREATE OR REPLACE VIEW public.zart_operations AS
SELECT operation_key AS operation_id, kind, execution_id, run_number, step_name, rule_id,
       task_name, triggered_by, reason, request_id, created_at, replaced, made, principal,
       incident, batch_id, breaker_id
FROM zart.operations;

-- Mutations that were only planned, or refused: written apart from the mutation's transaction. Their
-- keys are of one sequence with those of operations, so that lists have one order.
CREATE TABLE zart.operation_attempts (
    operation_key bigint PRIMARY KEY DEFAULT nextval('zart.operations_operation_key_seq'),
    status       text NOT NULL CHECK (status IN ('planned', 'refused')),
    kind         text NOT NULL,
    execution_id text COLLATE "C" NOT NULL DEFAULT '',
    run_number   integer,
    step_name    text COLLATE "C" NOT NULL DEFAULT '',
    rule_id      text COLLATE "C" NOT NULL DEFAULT '',
    task_name    text COLLATE "C" NOT NULL DEFAULT '',
    batch_id     text COLLATE "C" NOT NULL DEFAULT '',
    breaker_id   text COLLATE "C" NOT NULL DEFAULT '',
    incident     text COLLATE "C" NOT NULL DEFAULT '',
    triggered_by text COLLATE "C" NOT NULL,
    principal    text COLLATE "C" NOT NULL,
    reason       text NOT NULL,
    request_id   text COLLATE "C" NOT NULL,
    refusal      json,                       -- of a refused one: reason, code, message, metadata
    created_at   timestamptz NOT NULL DEFAULT statement_timestamp()
);
CREATE INDEX operation_attempts_by_execution
    ON zart.operation_attempts (execution_id, kind, operation_key);
CREATE INDEX operation_attempts_by_kind ON zart.operation_attempts (kind, operation_key);
CREATE INDEX operation_attempts_by_triggered_by
    ON zart.operation_attempts (triggered_by, operation_key) WHERE triggered_by <> '';
CREATE INDEX operation_attempts_by_principal
    ON zart.operation_attempts (principal, operation_key) WHERE principal <> '';
CREATE INDEX operation_attempts_by_incident
    ON zart.operation_attempts (incident, operation_key) WHERE incident <> '';
CREATE INDEX operation_attempts_by_rule
    ON zart.operation_attempts (rule_id, operation_key) WHERE rule_id <> '';
CREATE INDEX operation_attempts_by_batch
    ON zart.operation_attempts (batch_id, operation_key) WHERE batch_id <> '';
CREATE INDEX operation_attempts_by_breaker
    ON zart.operation_attempts (breaker_id, operation_key) WHERE breaker_id <> '';
CREATE TRIGGER operation_attempts_kept_update AFTER UPDATE ON zart.operation_attempts
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_any_row('an attempt at an operation');
CREATE TRIGGER operation_attempts_kept_delete AFTER DELETE ON zart.operation_attempts
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_any_row('an attempt at an operation');
CREATE TRIGGER operation_attempts_kept_truncate BEFORE TRUNCATE ON zart.operation_attempts
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_always('attempts at operations');
CREATE VIEW public.zart_operation_attempts AS
SELECT operation_key AS operation_id, status, kind, execution_id, run_number, step_name, rule_id,
       task_name, batch_id, breaker_id, incident, triggered_by, principal, reason, request_id,
       refusal, created_at
FROM zart.operation_attempts;

-- When the runs lived that were purged, through the door for it, whoever opened it: of them nobody
-- can say any more what was leased while a rule stood.
CREATE TABLE zart.purged_runs (
    purge_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_name text COLLATE "C" NOT NULL,
    lives     tstzmultirange NOT NULL,
    purged_at timestamptz NOT NULL DEFAULT statement_timestamp()
);
CREATE FUNCTION zart.note_purged_runs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO zart.purged_runs (task_name, lives)
    SELECT listed_task, range_agg(tstzrange(LEAST(created_at, completed_at),
        GREATEST(created_at, COALESCE(completed_at, 'infinity')), '[]'))
    FROM old_rows GROUP BY listed_task;
    RETURN NULL;
END $$;
CREATE TRIGGER runs_purged AFTER DELETE ON zart.runs
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.note_purged_runs();

-- The last lease token given out: tokens begin at 1.
CREATE FUNCTION zart.last_token() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT last_value - (NOT is_called)::integer FROM zart.lease_tokens
$$;

-- The oldest active rule that withholds a step, NULL when none does: one that does not exempt the
-- execution, and has not let the attempt go. of_attempt NULL: of an attempt that is not there yet.
CREATE FUNCTION zart.pausing_rule(of_execution text, of_task text, of_step text, of_run bigint,
    of_step_no integer, of_attempt integer) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT rule_key FROM zart.pause_rules p
    WHERE deleted_at IS NULL
      AND (execution_id IS NULL OR execution_id = of_execution)
      AND (task_name IS NULL OR task_name = of_task)
      AND (step_regex IS NULL OR of_step ~ step_regex)
      AND NOT EXISTS (
        SELECT FROM zart.pause_exemptions x
        WHERE x.rule_key = p.rule_key AND x.execution_id = of_execution AND x.token_until IS NULL
        OFFSET 0)
      AND NOT EXISTS (
        SELECT FROM zart.released_steps s
        WHERE s.run_key = of_run AND s.step_no = of_step_no AND s.attempt = of_attempt
          AND s.rule_key = p.rule_key AND s.token_until IS NULL
        OFFSET 0)
    ORDER BY rule_key LIMIT 1
$$;

-- For servers of an earlier version.
CREATE OR REPLACE FUNCTION zart.pausing_rule(of_execution text, of_task text, of_step text)
RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT zart.pausing_rule(of_execution, of_task, of_step, NULL, NULL, NULL)
$$;

CREATE OR REPLACE VIEW public.zart_steps AS
SELECT e.execution_id, r.run_number, e.execution_id || ':run:' || r.run_number AS run_id,
       s.step_no, d.step_names[s.step_no + 1] AS step_name,
       CASE WHEN s.status <> 'open' THEN s.status
            WHEN t.lease_token IS NOT NULL THEN 'running'
            WHEN p.rule_key IS NOT NULL THEN 'paused'
            WHEN t.run_key IS NOT NULL OR h.run_key IS NOT NULL THEN 'scheduled'
            ELSE 'pending' END AS status,
       COALESCE(CASE WHEN t.lease_token IS NULL THEN t.attempt - 1 ELSE t.attempt END,
                h.attempt - 1, o.attempt) AS attempt,
       COALESCE(t.max_attempts, h.max_attempts, o.max_attempts, d.max_attempts[s.step_no + 1])
           AS max_attempts,
       o.result AS result_json, o.error AS last_error, o.retryable,
       CASE WHEN t.run_key IS NOT NULL AND p.rule_key IS NULL
            THEN zart.task_id(t.run_key, t.step_no, t.attempt) END AS task_id,
       COALESCE(t.not_before, h.not_before) AS not_before,
       t.dispatcher_id AS lease_owner, t.lease_expires_at, t.lease_token,
       p.rule_id AS paused_by, src.run_number AS preserved_from_run_number,
       COALESCE(t.scheduled_at, h.scheduled_at, o.scheduled_at) AS scheduled_at,
       COALESCE(t.started_at, o.started_at) AS started_at, o.completed_at
FROM zart.steps s
JOIN zart.runs r USING (run_key)
JOIN zart.executions e USING (execution_key)
JOIN zart.definitions d USING (definition_key)
LEFT JOIN zart.steps o ON o.run_key = COALESCE(s.source_run_key, s.run_key) AND o.step_no = s.step_no
LEFT JOIN zart.runs src ON src.run_key = s.source_run_key
LEFT JOIN zart.tasks t ON t.run_key = s.run_key AND t.step_no = s.step_no
LEFT JOIN zart.held h ON h.run_key = s.run_key AND h.step_no = s.step_no
LEFT JOIN zart.pause_rules p ON t.lease_token IS NULL
    AND (t.run_key IS NOT NULL OR h.run_key IS NOT NULL) AND p.rule_key =
    zart.pausing_rule(e.execution_id, e.task_name, d.step_names[s.step_no + 1], s.run_key, s.step_no,
        COALESCE(t.attempt, h.attempt));

CREATE OR REPLACE VIEW public.zart_pause_rules AS
SELECT p.rule_id, p.execution_id, p.task_name, p.step_pattern, p.everything, p.reason,
       CASE WHEN p.deleted_at IS NULL AND r.rule_key IS NOT NULL THEN 'releasing'
            WHEN p.deleted_at IS NULL THEN 'active'
            WHEN p.expired THEN 'expired' ELSE 'resumed' END AS status,
       p.created_at, p.created_by, p.expires_at, p.deleted_at, p.deleted_by, p.principal,
       p.deleted_by_principal, p.incident, p.expiry_rate AS release_on_expiry,
       r.rate_per_second, r.released_steps, r.started_at AS release_started_at,
       r.started_by AS release_started_by
FROM zart.pause_rules p LEFT JOIN zart.pause_releases r
    ON r.rule_key = p.rule_key AND (r.ended_at IS NULL OR r.ended_at >= p.deleted_at);
