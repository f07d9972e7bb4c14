-- The tables behind the operators' views. Ids that callers choose are compared byte by byte
-- (COLLATE "C"), so that neither equality nor a glob's range depends on the database's locale.
-- Nothing has a foreign key: a child insert would wait behind whoever holds the parent's lock.

CREATE SEQUENCE zart.lease_tokens;          -- no CACHE: tokens must grow across connections
CREATE SEQUENCE zart.queue_numbers;

-- The graphs: registered ones have a version from 1, inline ones 0. Steps refer to them by
-- definition_key and step_no (the index in the arrays, from 0), so no policy is copied per step.
CREATE TABLE zart.definitions (
    definition_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_name      text COLLATE "C" NOT NULL,
    version        integer NOT NULL CHECK (version >= 0),
    content_hash   bytea NOT NULL,
    steps          json NOT NULL,
    step_names     text[] COLLATE "C" NOT NULL,
    dep_counts     integer[] NOT NULL,
    max_attempts   integer[] NOT NULL,
    lanes          integer[] NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT statement_timestamp()
);
CREATE UNIQUE INDEX definitions_by_content ON zart.definitions (task_name, content_hash, (version = 0));
CREATE UNIQUE INDEX definitions_by_version ON zart.definitions (task_name, version) WHERE version > 0;

CREATE TABLE zart.task_names (
    task_name      text COLLATE "C" PRIMARY KEY,
    definition_key bigint,                  -- the current definition
    last_asked_at  timestamptz              -- by a dispatcher, to within a few seconds
);

-- A lane is what a dispatcher can ask for: queued tasks of one task and handler, in order.
CREATE TABLE zart.lanes (
    lane      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_name text COLLATE "C" NOT NULL,
    handler   text COLLATE "C" NOT NULL,
    UNIQUE (task_name, handler)
);

CREATE TABLE zart.executions (
    execution_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    execution_id  text COLLATE "C" NOT NULL UNIQUE,
    task_name     text COLLATE "C" NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT statement_timestamp()
);
CREATE INDEX executions_by_task ON zart.executions (task_name, execution_key);
CREATE INDEX executions_by_time ON zart.executions USING brin (created_at);

-- The run row is the mutex of everything below it.
CREATE TABLE zart.runs (
    run_key           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    execution_key     bigint NOT NULL,
    run_number        integer NOT NULL CHECK (run_number >= 0),
    is_current        boolean NOT NULL DEFAULT true,
    definition_key    bigint NOT NULL,
    status            text NOT NULL DEFAULT 'scheduled'
        CHECK (status IN ('scheduled', 'running', 'completed', 'failed', 'cancelled')),
    "trigger"         text NOT NULL CHECK ("trigger" IN ('initial', 'restart', 'selective_rerun')),
    triggered_by      text NOT NULL,
    reason            text NOT NULL,
    source_run_number integer,
    dead_steps        integer NOT NULL DEFAULT 0,
    payload           json,
    error             text NOT NULL DEFAULT '',
    created_at        timestamptz NOT NULL DEFAULT statement_timestamp(),
    started_at        timestamptz,
    completed_at      timestamptz,
    UNIQUE (execution_key, run_number),
    CHECK ((completed_at IS NULL) = (status IN ('scheduled', 'running')))
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02);
-- At most one unfinished run; also the list of unfinished executions, newest last.
CREATE UNIQUE INDEX runs_unfinished ON zart.runs (execution_key)
    WHERE status IN ('scheduled', 'running');
CREATE INDEX runs_ended_badly ON zart.runs (status, execution_key)
    WHERE is_current AND status IN ('failed', 'cancelled');
CREATE INDEX runs_with_dead_steps ON zart.runs (execution_key) WHERE is_current AND dead_steps > 0;

-- 'ready' is SCHEDULED or RUNNING where zart.queue has a row, PAUSED where zart.held has one.
CREATE TABLE zart.steps (
    run_key        bigint NOT NULL,
    step_no        integer NOT NULL,
    status         text NOT NULL
        CHECK (status IN ('pending', 'ready', 'completed', 'dead', 'cancelled')),
    pending_deps   integer NOT NULL CHECK (pending_deps >= 0),
    attempt        integer NOT NULL DEFAULT 0,     -- the last one, once the step is final
    counted        integer NOT NULL DEFAULT 0,     -- attempts that counted, once it is final
    max_attempts   integer,                        -- NULL: the definition's
    source_run_key bigint,                         -- preserved: result and attempts stand there
    retryable      boolean NOT NULL DEFAULT false,
    result         json,
    error          json,
    scheduled_at   timestamptz,
    started_at     timestamptz,
    completed_at   timestamptz,
    PRIMARY KEY (run_key, step_no),
    CHECK ((completed_at IS NOT NULL) = (status IN ('completed', 'dead', 'cancelled')))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

-- One row when an attempt ends; the running attempt is the leased row of zart.queue.
CREATE TABLE zart.attempts (
    run_key       bigint NOT NULL,
    step_no       integer NOT NULL,
    attempt       integer NOT NULL CHECK (attempt >= 1),
    status        text NOT NULL CHECK (status IN
        ('completed', 'failed', 'timed_out', 'lost', 'released', 'abandoned')),
    swept         boolean NOT NULL,                -- ended by the server, not by a report
    dispatcher_id text NOT NULL,
    lease_token   bigint NOT NULL,
    error         json,
    started_at    timestamptz NOT NULL,
    completed_at  timestamptz NOT NULL,
    PRIMARY KEY (run_key, step_no, attempt)
);
CREATE UNIQUE INDEX attempts_one_completed ON zart.attempts (run_key, step_no)
    WHERE status = 'completed';

-- The queue: narrow rows, deleted when done. `attempt` is the one this entry is for.
CREATE TABLE zart.queue (
    run_key          bigint NOT NULL,
    step_no          integer NOT NULL,
    lane             integer NOT NULL,
    attempt          integer NOT NULL,
    counted          integer NOT NULL,             -- attempts that counted before this one
    backoff_base     integer NOT NULL,             -- those of them before the last revival
    max_attempts     integer NOT NULL,
    timeout_seconds  double precision NOT NULL,
    queue_no         bigint NOT NULL,
    not_before       timestamptz NOT NULL,
    scheduled_at     timestamptz NOT NULL,
    lease_token      bigint,
    started_at       timestamptz,
    lease_expires_at timestamptz,
    lease_seconds    double precision,
    step_name        text COLLATE "C" NOT NULL,
    dispatcher_id    text,
    PRIMARY KEY (run_key, step_no),
    CHECK ((lease_token IS NULL) = (lease_expires_at IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.0,
        autovacuum_analyze_threshold = 20000);
CREATE INDEX queue_ready ON zart.queue (lane, not_before, queue_no) WHERE lease_token IS NULL;
CREATE INDEX queue_leased ON zart.queue (lease_expires_at) WHERE lease_token IS NOT NULL;

-- Ready steps that a pause rule withholds; they return to the queue with the place they had.
CREATE TABLE zart.held (
    run_key      bigint NOT NULL,
    step_no      integer NOT NULL,
    rule_key     bigint NOT NULL,
    lane         integer NOT NULL,
    attempt      integer NOT NULL,
    counted      integer NOT NULL,
    backoff_base integer NOT NULL,
    max_attempts integer NOT NULL,
    timeout_seconds double precision NOT NULL,
    queue_no     bigint NOT NULL,
    not_before   timestamptz NOT NULL,
    scheduled_at timestamptz NOT NULL,
    step_name    text COLLATE "C" NOT NULL,
    PRIMARY KEY (run_key, step_no)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX held_by_rule ON zart.held (rule_key, not_before, queue_no);

CREATE TABLE zart.pause_rules (
    rule_key     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule_id      text COLLATE "C" NOT NULL UNIQUE,
    execution_id text COLLATE "C",
    task_name    text COLLATE "C",
    step_pattern text COLLATE "C",
    step_regex   text COLLATE "C",                 -- step_pattern, as PostgreSQL matches it
    everything   boolean NOT NULL,
    reason       text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT statement_timestamp(),
    created_by   text NOT NULL,
    expires_at   timestamptz,
    deleted_at   timestamptz,
    deleted_by   text NOT NULL DEFAULT '',
    expired      boolean NOT NULL DEFAULT false,
    CHECK ((step_pattern IS NULL) = (step_regex IS NULL)),
    CHECK (everything = (execution_id IS NULL AND task_name IS NULL AND step_pattern IS NULL))
);
CREATE INDEX pause_rules_active ON zart.pause_rules (task_name, execution_id)
    WHERE deleted_at IS NULL;
CREATE INDEX pause_rules_expiry ON zart.pause_rules (expires_at)
    WHERE deleted_at IS NULL AND expires_at IS NOT NULL;

-- What is still to be moved for a rule: 'settle' until its queued tasks are held, 'release' until
-- its held steps are queued. Apart from the rules, since a deleted rule is never changed.
CREATE TABLE zart.pause_work (
    rule_key bigint PRIMARY KEY,
    work     text NOT NULL CHECK (work IN ('settle', 'release'))
);

-- Counts the changes of the set of active rules: what validates a server's cache of them.
CREATE TABLE zart.pause_epoch (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch    bigint NOT NULL
);
INSERT INTO zart.pause_epoch (epoch) VALUES (0);

CREATE TABLE zart.operations (
    operation_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text NOT NULL,
    execution_id  text COLLATE "C" NOT NULL DEFAULT '',
    run_number    integer,
    step_name     text NOT NULL DEFAULT '',
    rule_id       text NOT NULL DEFAULT '',
    task_name     text NOT NULL DEFAULT '',
    triggered_by  text NOT NULL,
    reason        text NOT NULL,
    request_id    text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT statement_timestamp(),
    replaced      json,
    made          json
);
CREATE INDEX operations_by_execution ON zart.operations (execution_id, operation_key);
CREATE INDEX operations_by_kind ON zart.operations (kind, operation_key) WHERE kind <> 'start';

-- What makes a repeat safe: the response stands with the request, in the operation's transaction.
CREATE TABLE zart.requests (
    caller      text COLLATE "C" NOT NULL,
    rpc         text COLLATE "C" NOT NULL,
    request_id  text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    response    bytea,
    is_complete boolean NOT NULL DEFAULT false,    -- false: counts are still to be filled in
    created_at  timestamptz NOT NULL DEFAULT statement_timestamp(),
    PRIMARY KEY (caller, rpc, request_id)
);
CREATE INDEX requests_by_time ON zart.requests USING brin (created_at);
