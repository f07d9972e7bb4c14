"""Speaks SQL: nearly every function is one statement, and says what it locks.

A file named like an operation (``end_leases``, ``retry_step``, ``start_fast`` …) has the one
statement of that operation; every other file is named by its table. ``caches`` keep at hand what
seldom changes, ``pausing`` has the rules, ``reads`` what callers look at. All statements can be
read as they are sent in ``docs/sql`` (``make sql``).
"""
