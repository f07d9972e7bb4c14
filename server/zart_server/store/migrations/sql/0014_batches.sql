-- Batches (docs/adr/0037-batches.md): one operation on many steps or executions, frozen in items
-- that are done one after the other by whichever server comes to it.

CREATE TABLE zart.batches (
    batch_key       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id        text COLLATE "C" NOT NULL UNIQUE,
    status          text NOT NULL DEFAULT 'preparing'
        CHECK (status IN ('preparing', 'running', 'paused', 'completed', 'cancelled')),
    pause_cause     text NOT NULL DEFAULT ''
        CHECK (pause_cause IN ('', 'operator', 'canary', 'max_failures')),
    operation       json NOT NULL,
    selection       json NOT NULL,             -- of ids the first
    execution_ids   text[] COLLATE "C",        -- NULL: not selected by ids
    as_of           timestamptz NOT NULL,
    -- Its items are written in pieces: where the next one begins, and whether that was the last.
    prepared_until  json,
    is_prepared     boolean NOT NULL DEFAULT false,
    last_item       integer NOT NULL DEFAULT 0,
    -- Totals, written with the items.
    selected        integer NOT NULL DEFAULT 0,
    done            integer NOT NULL DEFAULT 0,
    refused         integer NOT NULL DEFAULT 0,
    rate_per_second double precision,          -- NULL: as fast as it goes
    credit          double precision NOT NULL DEFAULT 1,
    credit_at       timestamptz,
    canary          integer,
    canary_left     integer,                   -- NULL: there is none, or it was resumed since
    max_failures    integer,
    failures_before integer NOT NULL DEFAULT 0,  -- how many of them somebody has seen and resumed
    created_by      text NOT NULL,
    principal       text NOT NULL,
    reason          text NOT NULL,
    incident        text NOT NULL,
    error           text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL DEFAULT statement_timestamp(),
    started_at      timestamptz,
    completed_at    timestamptz,
    CHECK ((completed_at IS NOT NULL) = (status IN ('completed', 'cancelled'))),
    CHECK ((pause_cause <> '') = (status = 'paused'))
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000);
CREATE INDEX batches_at_work ON zart.batches (batch_key) WHERE status IN ('preparing', 'running');
CREATE INDEX batches_by_status ON zart.batches (status, batch_key);

-- What is frozen: of a step its run and last attempt, of an execution its run. A run that the item
-- makes has the next number. Items of a cancelled batch stay 'pending', and are read as cancelled.
CREATE TABLE zart.batch_items (
    batch_key     bigint NOT NULL,
    item_no       integer NOT NULL,
    execution_id  text COLLATE "C" NOT NULL,
    execution_key bigint,                      -- NULL: there is no such execution
    run_key       bigint,
    run_number    integer NOT NULL DEFAULT 0,
    step_no       integer NOT NULL DEFAULT -1,
    step_name     text NOT NULL DEFAULT '',
    attempt       integer,
    status        text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'done', 'refused')),
    refusal       json,
    done_at       timestamptz,
    PRIMARY KEY (batch_key, item_no),
    CHECK ((done_at IS NULL) = (status = 'pending')),
    CHECK ((refusal IS NOT NULL) = (status = 'refused'))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX batch_items_by_status ON zart.batch_items (batch_key, status, item_no);
CREATE UNIQUE INDEX batch_items_once ON zart.batch_items (batch_key, execution_key, step_no);

CREATE VIEW public.zart_batches AS
SELECT batch_id, status, pause_cause, operation, selection, as_of, selected, done, refused,
       CASE WHEN status = 'cancelled' THEN 0 ELSE selected - done - refused END AS pending,
       CASE WHEN status = 'cancelled' THEN selected - done - refused ELSE 0 END AS cancelled,
       rate_per_second, canary, max_failures, created_by, principal, reason, incident, error,
       created_at, started_at, completed_at
FROM zart.batches;

CREATE VIEW public.zart_batch_items AS
SELECT b.batch_id, i.item_no, i.execution_id, i.run_number, i.step_name,
       CASE WHEN i.status = 'pending' AND b.status = 'cancelled' THEN 'cancelled' ELSE i.status END
           AS status, i.refusal, i.done_at
FROM zart.batch_items i JOIN zart.batches b USING (batch_key);
