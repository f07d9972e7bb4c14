-- store/reads/stats.py: read_stats
-- Return how much there is; of each status at most so many are counted.
-- Locks: nothing.
-- Parameters: most=$1, statuses=$2.
SELECT s.status, (
    SELECT count(*) FROM (
        SELECT FROM zart.runs
        WHERE is_current AND (status, listed_at, execution_key) >= (s.status, '-infinity', 0)
            AND (status, listed_at, execution_key) <= (s.status, 'infinity', 0)
        ORDER BY status, listed_at, execution_key LIMIT $1::bigint) r), (
            SELECT listed_at FROM zart.runs
            WHERE is_current AND (status, listed_at, execution_key) >= (s.status, '-infinity', 0)
                AND (status, listed_at, execution_key) <= (s.status, 'infinity', 0)
            ORDER BY status, listed_at, execution_key LIMIT 1)
FROM unnest($2::text[]) s(status);

-- store/reads/stats.py: read_stats
-- Return how much there is; of each status at most so many are counted.
-- Locks: nothing.
SELECT c.relname, c.reltuples::bigint, pg_stat_get_dead_tuples(c.oid),
    pg_total_relation_size(c.oid), pg_indexes_size(c.oid)
FROM pg_class c WHERE c.relnamespace = 'zart'::regnamespace AND c.relkind = 'r'
ORDER BY 4 DESC, 1;

-- store/reads/stats.py: read_stats
-- Return how much there is; of each status at most so many are counted.
-- Locks: nothing.
SELECT pg_database_size(current_database());

-- store/reads/stats.py: read_stats
-- Return how much there is; of each status at most so many are counted.
-- Locks: nothing.
SELECT created_at FROM zart.operations WHERE operation_key > 0 ORDER BY operation_key LIMIT 1;
