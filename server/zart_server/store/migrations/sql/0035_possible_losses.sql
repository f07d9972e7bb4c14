-- A history that is joined may lack the last commits of the one before: after a failover, or a restore.
-- What was leased then is nowhere on record, so a pause rule that stood then cannot be said to have held.
CREATE TABLE zart.possible_losses (
    last_token bigint PRIMARY KEY,           -- the last lease token that the history before is known to have given out
    name       text NOT NULL,                -- of the history that was joined
    joined_at  timestamptz NOT NULL DEFAULT statement_timestamp()
);

-- The name of a history begins with its place: which timeline of which PostgreSQL, and which database and
-- table of it, as pg_restore makes others. The same place, started again, has all that was committed there:
-- PostgreSQL itself sees to that. Another place may be one to which the last commits never came, and cannot
-- know. Where the timeline cannot be asked for, a start may be a failover's.
--
-- Names of before have no such place, so the first connection after this migration joins another history.
CREATE OR REPLACE FUNCTION zart.join_history(anew boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    timeline text;
    system text;
    place text;
    start text := to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MISS.US');
    here text;
    known text;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'this PostgreSQL is a standby' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    BEGIN
        timeline := left(pg_walfile_name(pg_current_wal_lsn()), 8);
    EXCEPTION WHEN feature_not_supported THEN
        timeline := '';  -- some managed databases have no WAL to be asked for; a failover starts them anew
    END;
    BEGIN
        system := (SELECT system_identifier FROM pg_control_system());
    EXCEPTION WHEN feature_not_supported OR insufficient_privilege OR undefined_function THEN
        system := '';
    END;
    place := concat_ws('-', timeline, system,
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        'zart.history'::regclass::oid, '');
    here := place || start;
    IF NOT anew AND EXISTS (SELECT FROM zart.history WHERE name = here) THEN
        RETURN here;
    END IF;
    PERFORM pg_advisory_xact_lock(x'7A6172740003'::bigint);
    known := (SELECT name FROM zart.history);
    IF anew OR known IS DISTINCT FROM here THEN
        IF known <> here AND (timeline = '' OR left(known, -length(start)) <> place) THEN
            INSERT INTO zart.possible_losses (last_token, name) VALUES (zart.last_token(), here)
            ON CONFLICT (last_token) DO NOTHING;
        END IF;
        PERFORM setval('zart.lease_tokens', GREATEST(
            (SELECT last_value FROM zart.lease_tokens),
            floor(extract(epoch FROM clock_timestamp()) * (1 << 20))::bigint
        ) + (1 << 20) + floor(random() * (1::bigint << 40))::bigint);
        INSERT INTO zart.history (name) VALUES (here)
        ON CONFLICT (is_only) DO UPDATE SET name = here, joined_at = CASE
            WHEN history.name = here THEN history.joined_at ELSE statement_timestamp() END;
    END IF;
    RETURN here;
END
$$;
