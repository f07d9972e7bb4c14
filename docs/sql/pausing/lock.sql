-- store/pausing/lock.py: _holders
-- Return the names of sessions that have held the pause lock and idled for a while.
-- Locks: nothing.
SELECT a.pid, a.application_name, host(a.client_addr) AS client, a.state,
    round(EXTRACT(epoch FROM clock_timestamp() - a.state_change), 1) AS seconds
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
    AND l.classid = 31329 AND l.objid = 1920204802
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND a.state_change < clock_timestamp() - 0.1 * interval '1 second'
ORDER BY a.state_change LIMIT 3;
