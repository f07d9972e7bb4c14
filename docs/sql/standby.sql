-- store/standby.py: reach_standby
-- Have all that was found until now be on the standby by the commit of the transaction.
-- Locks: nothing.
SELECT pg_logical_emit_message(true, 'zart', '')
WHERE current_setting('synchronous_standby_names') <> '';
