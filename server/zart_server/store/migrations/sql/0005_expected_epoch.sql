-- Takes the pause lock, shared, and refuses the whole statement where the rules have changed since
-- the epoch that it was judged by: for statements that have changed rows before they take the lock.
CREATE FUNCTION zart.expect_epoch(pause_lock bigint, expected bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF zart.shared_epoch(pause_lock) <> expected THEN
        RAISE serialization_failure USING MESSAGE = 'the pause rules have changed meanwhile';
    END IF;
    RETURN true;
END $$;
