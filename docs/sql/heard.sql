-- store/heard.py: _send_a_word
-- Ask for nothing.
-- Locks: nothing.
SELECT;
