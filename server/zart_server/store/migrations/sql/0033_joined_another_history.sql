-- A server that begins draws tokens anew, which makes no other history of this one: with the time of
-- the last start, each receipt of a rule that was added about a deploy had to read all runs there are.
CREATE OR REPLACE FUNCTION zart.join_history(anew boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    here text;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'this PostgreSQL is a standby' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    BEGIN
        here := left(pg_walfile_name(pg_current_wal_lsn()), 8) || '-';
    EXCEPTION WHEN feature_not_supported THEN
        here := '';  -- some managed databases have no WAL to be asked for; a failover starts them anew
    END;
    here := here
        || to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MISS.US');
    IF NOT anew AND EXISTS (SELECT FROM zart.history WHERE name = here) THEN
        RETURN here;
    END IF;
    PERFORM pg_advisory_xact_lock(x'7A6172740003'::bigint);
    IF anew OR NOT EXISTS (SELECT FROM zart.history WHERE name = here) THEN
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
