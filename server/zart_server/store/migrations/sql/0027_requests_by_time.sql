-- What is old is found by its time, whatever was removed before. By ranges of blocks, as before this,
-- it was not: what came new into the room of what had been removed, after seven days, left every
-- range with an old time in it, so that each look read all requests.
LOCK TABLE zart.requests IN SHARE MODE;
CREATE INDEX requests_by_age ON zart.requests (created_at);
DROP INDEX zart.requests_by_time;
ALTER INDEX zart.requests_by_age RENAME TO requests_by_time;
-- Nothing asks for these.
DROP INDEX zart.executions_by_time;
