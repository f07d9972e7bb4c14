-- After an asynchronous failover, or a restore, the last transactions are lost and sequences step
-- back: run keys and lease tokens are given out again, in the same order. A dispatcher that still
-- runs a step of a lost execution would report it by numbers that now name another's lease. So
-- tokens begin anew, at a random place beyond all before, whenever the history may be another one.

CREATE TABLE zart.history (
    is_only    boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    name       text NOT NULL,                -- timeline and start of the PostgreSQL that runs it
    joined_at  timestamptz NOT NULL DEFAULT statement_timestamp()
);

-- Names the history that this connection writes. Where it is another than the one on record, or
-- the caller wants it, tokens are drawn anew before: first of all by the clock, for sequences may
-- have stepped back by any amount; then by 40 random bits, more than 2^20 apart at least, which is
-- more than a second gives out. Tokens of each step grow all the same.
CREATE FUNCTION zart.join_history(anew boolean) RETURNS text LANGUAGE plpgsql AS $$
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
        ON CONFLICT (is_only) DO UPDATE SET name = here, joined_at = statement_timestamp();
    END IF;
    RETURN here;
END
$$;
