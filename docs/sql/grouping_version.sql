-- store/grouping_version.py: read_version
-- Return the version that is in use; for a connection that has only been made.
-- Locks: nothing.
SELECT version FROM zart.fingerprint_version;

-- store/grouping_version.py: find_version
-- Return the version that is in use, and for how long it has been (at most 1,000 days).
-- Locks: nothing.
SELECT version, statement_timestamp() - GREATEST(since, statement_timestamp() - interval '1000 days')
FROM zart.fingerprint_version;

-- store/grouping_version.py: do_all_know
-- Return whether no server is connected to the database that does not know a version.
-- Locks: nothing.
SELECT
    NOT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'zart-%'
            AND COALESCE(substring(application_name FROM ' fp([0-9]+)$')::integer, 1) < $1);

-- store/grouping_version.py: use_version
-- Have deaths be told by a version from now on if all servers know it; return whether so.
-- Locks: fingerprint_version.
UPDATE zart.fingerprint_version
SET version = $1, since = statement_timestamp()
WHERE version < $1
    AND
    NOT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'zart-%'
            AND COALESCE(substring(application_name FROM ' fp([0-9]+)$')::integer, 1) < $1);
