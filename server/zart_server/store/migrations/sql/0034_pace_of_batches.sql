-- Since when a batch goes as it does now, and how many of its items were done or refused by then: the
-- time in which it was paused, or had another pace, says nothing about when it will be done.
-- NULL: nothing was done yet since it began, was resumed, or has another pace. Servers before this
-- leave both as they are.
ALTER TABLE zart.batches
    ADD COLUMN going_since timestamptz,
    ADD COLUMN passed_before integer;
