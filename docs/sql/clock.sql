-- store/clock.py: read_clock
-- Return the time of this statement.
-- Locks: nothing.
SELECT statement_timestamp();
