-- Each fact once more cheaply (docs/adr/0012-leases-apart.md): leased tasks stand apart from queued
-- ones, so that a claim is one narrow row moved and a step that follows at once is never queued; the
-- completed attempt is part of its step's row; whether an open step is queued, held or leased is
-- said by those tables alone.

DROP VIEW public.zart_tasks;
DROP VIEW public.zart_step_attempts;
DROP VIEW public.zart_steps;

CREATE TABLE zart.leases (
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
    lease_token      bigint NOT NULL,
    started_at       timestamptz NOT NULL,
    lease_expires_at timestamptz NOT NULL,
    lease_seconds    double precision NOT NULL,
    step_name        text COLLATE "C" NOT NULL,
    dispatcher_id    text NOT NULL,
    principal        text COLLATE "C" NOT NULL,
    PRIMARY KEY (run_key, step_no)
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 20000,
        autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 0,
        autovacuum_analyze_scale_factor = 0.0, autovacuum_analyze_threshold = 100000);
CREATE INDEX leases_by_end ON zart.leases (lease_expires_at);

INSERT INTO zart.leases
SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts, timeout_seconds,
       queue_no, not_before, scheduled_at, lease_token, started_at, lease_expires_at,
       lease_seconds, step_name, dispatcher_id, principal
FROM zart.queue WHERE lease_token IS NOT NULL;
DELETE FROM zart.queue WHERE lease_token IS NOT NULL;
DROP INDEX zart.queue_ready;
ALTER TABLE zart.queue
    DROP COLUMN lease_token, DROP COLUMN started_at, DROP COLUMN lease_expires_at,
    DROP COLUMN lease_seconds, DROP COLUMN dispatcher_id, DROP COLUMN principal;
ALTER TABLE zart.queue RESET (fillfactor);
ALTER TABLE zart.queue SET (autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 100000);
CREATE INDEX queue_ready ON zart.queue (lane, not_before, queue_no);

-- 'open' is PENDING, or SCHEDULED, PAUSED or RUNNING where queue, held or leases have a row.
-- pending_deps is counted down where a step waits for several; one that waits for a single step
-- follows when that is completed.
SET LOCAL zart.purge = 'on';
ALTER TABLE zart.steps DROP CONSTRAINT steps_status_check;
UPDATE zart.steps SET status = 'open' WHERE status IN ('pending', 'ready');
ALTER TABLE zart.steps
    ADD CHECK (status IN ('open', 'completed', 'dead', 'cancelled')),
    ADD COLUMN lease_token bigint,              -- of the completed attempt
    ADD COLUMN dispatcher_id text,              -- likewise
    ADD COLUMN principal text NOT NULL DEFAULT '';  -- likewise
UPDATE zart.steps s SET lease_token = a.lease_token, dispatcher_id = a.dispatcher_id,
    principal = a.principal
FROM zart.attempts a
WHERE a.status = 'completed' AND a.run_key = s.run_key AND a.step_no = s.step_no;
DELETE FROM zart.attempts WHERE status = 'completed';
DROP INDEX zart.attempts_one_completed;
ALTER TABLE zart.attempts DROP CONSTRAINT attempts_status_check;
ALTER TABLE zart.attempts
    ADD CHECK (status IN ('failed', 'timed_out', 'lost', 'released', 'abandoned'));
SET LOCAL zart.purge = 'off';

-- A step's row doubles when it is completed: with room for that on its page no index is touched.
ALTER TABLE zart.steps SET (fillfactor = 45);

-- A completed step is its ended attempt too, so it is kept in the current run as well.
CREATE OR REPLACE FUNCTION zart.refuse_past_steps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM old_rows JOIN zart.runs USING (run_key)
               WHERE NOT is_current OR old_rows.status = 'completed') THEN
        PERFORM zart.refuse('a completed step, or a step of a run that is not current,');
    END IF;
    RETURN NULL;
END $$;

-- Queued and leased tasks as one, for reads.
CREATE VIEW zart.tasks AS
SELECT run_key, step_no, lane, attempt, max_attempts, not_before, scheduled_at, step_name,
       NULL::bigint AS lease_token, NULL::text AS dispatcher_id, NULL::text AS principal,
       NULL::timestamptz AS started_at, NULL::timestamptz AS lease_expires_at
FROM zart.queue
UNION ALL
SELECT run_key, step_no, lane, attempt, max_attempts, not_before, scheduled_at, step_name,
       lease_token, dispatcher_id, principal, started_at, lease_expires_at
FROM zart.leases;

-- All attempts of all steps: ended ones, the completed one from its step, the running one.
CREATE VIEW zart.all_attempts AS
SELECT run_key, step_no, attempt, status, swept, dispatcher_id, principal, lease_token, error,
       started_at, completed_at
FROM zart.attempts
UNION ALL
SELECT run_key, step_no, attempt, status, false, dispatcher_id, principal, lease_token, NULL,
       started_at, completed_at
FROM zart.steps WHERE status = 'completed' AND source_run_key IS NULL
UNION ALL
SELECT run_key, step_no, attempt, 'running', false, dispatcher_id, principal, lease_token, NULL,
       started_at, NULL
FROM zart.leases;

CREATE VIEW public.zart_steps AS
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
    zart.pausing_rule(e.execution_id, e.task_name, d.step_names[s.step_no + 1]);

CREATE VIEW public.zart_step_attempts AS
SELECT e.execution_id, r.run_number, e.execution_id || ':run:' || r.run_number AS run_id,
       d.step_names[a.step_no + 1] AS step_name, a.attempt, a.status, a.dispatcher_id,
       a.lease_token, a.error, a.started_at, a.completed_at, a.principal
FROM zart.all_attempts a
JOIN zart.runs r USING (run_key)
JOIN zart.executions e USING (execution_key)
JOIN zart.definitions d USING (definition_key);

CREATE VIEW public.zart_tasks AS
SELECT zart.task_id(t.run_key, t.step_no, t.attempt) AS task_id, e.execution_id, r.run_number,
       e.execution_id || ':run:' || r.run_number AS run_id, e.task_name, t.step_name, l.handler,
       CASE WHEN t.lease_token IS NULL THEN 'scheduled' ELSE 'running' END AS status,
       t.attempt, t.max_attempts, t.not_before, t.scheduled_at, t.lease_token,
       t.dispatcher_id AS lease_owner, t.started_at, t.lease_expires_at, t.principal
FROM zart.tasks t JOIN zart.runs r USING (run_key) JOIN zart.executions e USING (execution_key)
JOIN zart.lanes l USING (lane);
