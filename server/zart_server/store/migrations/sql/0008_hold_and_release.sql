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
    rule_key        bigint PRIMARY KEY,
    rate_per_second double precision NOT NULL,
    credit          double precision NOT NULL,   -- steps that may go at credit_at
    credit_at       timestamptz NOT NULL,
    released_steps  integer NOT NULL DEFAULT 0,
    is_waiting      boolean NOT NULL DEFAULT false,  -- for dispatchers to lease what it released
    started_at      timestamptz NOT NULL DEFAULT statement_timestamp(),
    started_by      text NOT NULL,
    principal       text NOT NULL,
    reason          text NOT NULL,
    incident        text NOT NULL,
    ended_at        timestamptz                  -- NULL: the rule is RELEASING
);

-- Attempts that a rule has let go while it still matches their step. What does not complete its step
-- is withheld again, since the next attempt has no row here.
CREATE TABLE zart.released_steps (
    rule_key    bigint NOT NULL,
    run_key     bigint NOT NULL,
    step_no     integer NOT NULL,
    attempt     integer NOT NULL,
    token_from  bigint NOT NULL,
    token_until bigint,                      -- NULL: it was not taken back
    released_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (run_key, step_no, attempt, rule_key)
);
CREATE INDEX released_steps_by_rule ON zart.released_steps (rule_key, run_key);

-- Since when nothing that a rule withholds is in flight. No row: something is, or may be.
CREATE TABLE zart.pause_drains (
    rule_key   bigint PRIMARY KEY,
    drained_at timestamptz NOT NULL
);

-- Work may be of one execution (whose exemption was added or removed), or of the steps that a rule
-- had released and has taken back.
ALTER TABLE zart.pause_work
    ADD COLUMN execution_id text COLLATE "C" NOT NULL DEFAULT '',   -- '': of all that it matches
    ADD COLUMN of_released boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT pause_work_pkey,
    ADD PRIMARY KEY (rule_key, work, execution_id, of_released);

ALTER TABLE zart.operations
    ADD COLUMN incident text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN batch_id text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN breaker_id text COLLATE "C" NOT NULL DEFAULT '';
CREATE OR REPLACE VIEW public.zart_operations AS
SELECT operation_key AS operation_id, kind, execution_id, run_number, step_name, rule_id,
       task_name, triggered_by, reason, request_id, created_at, replaced, made, principal,
       incident, batch_id, breaker_id
FROM zart.operations;

-- Mutations that were only planned, or refused: written apart from the mutation's transaction.
CREATE TABLE zart.operation_attempts (
    attempt_key  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
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
CREATE TRIGGER operation_attempts_kept_update AFTER UPDATE ON zart.operation_attempts
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_any_row('an attempt at an operation');
CREATE TRIGGER operation_attempts_kept_delete AFTER DELETE ON zart.operation_attempts
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_any_row('an attempt at an operation');
CREATE TRIGGER operation_attempts_kept_truncate BEFORE TRUNCATE ON zart.operation_attempts
    FOR EACH STATEMENT EXECUTE FUNCTION zart.refuse_always('attempts at operations');
