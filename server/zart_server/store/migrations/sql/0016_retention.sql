-- Retention (docs/retention.md): finished executions that ended long enough ago are removed whole, by
-- the door of 0001_append_only.sql.

-- For how long those of a task are kept, if that is another time than the servers' setting.
CREATE TABLE zart.task_retention (
    task_name    text COLLATE "C" PRIMARY KEY,
    keep         interval CHECK (keep > interval '0'),  -- NULL: for ever
    set_at       timestamptz NOT NULL DEFAULT statement_timestamp(),
    triggered_by text NOT NULL,
    principal    text NOT NULL,
    reason       text NOT NULL,
    incident     text NOT NULL
);

-- One server at a time goes through what has ended; this is when another one may, or it once more.
CREATE TABLE zart.retention_passes (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    taken_until timestamptz NOT NULL
);
INSERT INTO zart.retention_passes (taken_until) VALUES ('-infinity');

-- The operation that tells what was removed on a day, of a task and at the wish of a caller: it is
-- added to as long as the day lasts.
CREATE TABLE zart.purge_records (
    day           date NOT NULL,
    task_name     text COLLATE "C" NOT NULL,  -- '': operations, which are of no task
    caller        bytea NOT NULL,             -- a hash of who asked, and why
    operation_key bigint NOT NULL DEFAULT nextval('zart.operations_operation_key_seq'),
    PRIMARY KEY (day, task_name, caller)
) WITH (fillfactor = 70);

-- Of rules that have ended, what they exempted is removed with the execution.
CREATE INDEX pause_exemptions_by_execution ON zart.pause_exemptions (execution_id, rule_key);

-- When the runs lived that were removed: a row for each task, since there are many pieces. Lives less
-- than a day apart are one, so that few ranges stand. Receipts say less for that, never too much.
CREATE FUNCTION zart.joined_lives(lives tstzmultirange) RETURNS tstzmultirange
LANGUAGE sql IMMUTABLE AS $$
    SELECT range_agg(tstzrange(lower(wide), upper(wide) - interval '1 day', '[]'))
    FROM (SELECT range_agg(tstzrange(lower(life), upper(life) + interval '1 day', '[]')) AS wider
          FROM unnest(lives) life) w, unnest(wider) wide
$$;
WITH taken AS (DELETE FROM zart.purged_runs RETURNING task_name, lives, purged_at)
INSERT INTO zart.purged_runs (task_name, lives, purged_at)
SELECT task_name, zart.joined_lives(range_agg(lives)), max(purged_at) FROM taken GROUP BY task_name;
ALTER TABLE zart.purged_runs ADD UNIQUE (task_name);
ALTER TABLE zart.purged_runs SET (fillfactor = 50);

CREATE OR REPLACE FUNCTION zart.note_purged_runs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO zart.purged_runs AS p (task_name, lives)
    SELECT listed_task, zart.joined_lives(range_agg(tstzrange(LEAST(created_at, completed_at),
        GREATEST(created_at, COALESCE(completed_at, 'infinity')), '[]')))
    FROM old_rows GROUP BY listed_task ORDER BY listed_task
    ON CONFLICT (task_name) DO UPDATE
    SET lives = zart.joined_lives(p.lives + EXCLUDED.lives), purged_at = statement_timestamp();
    RETURN NULL;
END $$;

-- What is removed day by day is given back to be used again before the tables have grown by a fifth.
ALTER TABLE zart.executions SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE zart.operations SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE zart.requests SET (autovacuum_vacuum_scale_factor = 0.05);

CREATE VIEW public.zart_retention AS
SELECT task_name, keep, set_at, triggered_by, principal, reason, incident FROM zart.task_retention;
