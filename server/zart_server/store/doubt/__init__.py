"""Attempts in doubt: rows beside the ended attempts, for what is found out later."""
