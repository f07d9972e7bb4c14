-- Rules that have ended since a moment: what was paused then is not taken for what was SCHEDULED.
CREATE INDEX pause_rules_by_end ON zart.pause_rules (deleted_at) WHERE deleted_at IS NOT NULL;
