-- store/slices.py: rest
-- Send an empty statement, and begin the next slice with its answer.
-- Locks: nothing.
SELECT;
