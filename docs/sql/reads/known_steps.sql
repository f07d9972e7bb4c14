-- store/reads/known_steps.py: _all_matching
-- Return the keys of the rules that withhold each step, by the rules of one epoch.
-- Locks: nothing.
SELECT;
