-- store/reads/known_steps.py: _all_matching
-- Return the keys of the rules that withhold each step: of one epoch, unless they change often.
-- Locks: nothing.
SELECT;
