-- store/heard.py: again
-- Send a word if it is time to: called between two parts of the work, none of them long.
-- Locks: nothing.
SELECT;
