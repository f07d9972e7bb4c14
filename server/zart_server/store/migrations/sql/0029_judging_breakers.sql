-- What a ratio of breakers of one group of errors is of: what ended badly with other errors, too.
-- Servers before this leave it out.
ALTER TABLE zart.breaker_counts ADD COLUMN failed_otherwise integer NOT NULL DEFAULT 0;
-- When the settings of a breaker were changed last, NULL: never. It is judged then, though nothing
-- fails: it may have counted enough for them already.
ALTER TABLE zart.breakers ADD COLUMN updated_at timestamptz;
CREATE INDEX breakers_updated ON zart.breakers (updated_at) WHERE updated_at IS NOT NULL;
