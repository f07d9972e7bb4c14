-- A canary that a rule promises, as it is settling, is of the steps that are ready then: what is
-- enqueued later, as it became ready or its released attempt failed, has a greater number.
CREATE FUNCTION zart.last_queue_no() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT last_value - (NOT is_called)::integer FROM zart.queue_numbers
$$;
-- Servers before this leave it out.
ALTER TABLE zart.pause_canaries
    ADD COLUMN last_queue_no bigint NOT NULL DEFAULT zart.last_queue_no();
