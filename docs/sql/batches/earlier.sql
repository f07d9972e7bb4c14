-- store/batches/earlier.py: let_earlier_end
-- Wait until no server's transaction that may write is older than a moment of the database's.
-- Locks: nothing.
SELECT pg_stat_clear_snapshot();

-- store/batches/earlier.py: let_earlier_end
-- Wait until no server's transaction that may write is older than a moment of the database's.
-- Locks: nothing.
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database()
        AND application_name LIKE 'zart-%' AND pid <> pg_backend_pid()
        AND application_name NOT LIKE 'zart-migrate%'
        AND (backend_xid IS NOT NULL AND xact_start < $1
                OR state = 'active' AND query_start < $1));
