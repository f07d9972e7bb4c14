"""Speaks in operations: one file per verb, each takes an open transaction."""
