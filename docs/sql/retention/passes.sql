-- store/retention/passes.py: take_pass
-- Have this server go through what has ended, unless another does, or has just done: None then.
-- Locks: retention_passes.
UPDATE zart.retention_passes
SET taken_until = statement_timestamp() + $1::interval
WHERE taken_until < statement_timestamp() OR taken_until > statement_timestamp() + interval '15 minutes'
RETURNING come_to;

-- store/retention/passes.py: set_pass
-- Keep other servers, and this one, from taking a pass for so long; it then begins there.
-- Locks: retention_passes.
UPDATE zart.retention_passes
SET taken_until = statement_timestamp() + $1::interval, come_to = $2::jsonb;

-- store/retention/passes.py: prolong_pass
-- Keep other servers from taking a pass for so long; where the next one begins stays.
-- Locks: retention_passes.
UPDATE zart.retention_passes SET taken_until = statement_timestamp() + $1::interval;

-- store/retention/passes.py: hold_pass
-- Wait for the end of a piece that is under way; none goes on until this transaction ends.
-- Locks: retention_passes.
SELECT FROM zart.retention_passes FOR SHARE;
