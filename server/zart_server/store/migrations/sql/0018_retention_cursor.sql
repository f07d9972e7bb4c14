-- How far the pass of retention has come that is under way, or was cut off: the next goes on there.
-- NULL: at the oldest.
ALTER TABLE zart.retention_passes ADD COLUMN come_to jsonb;
