"""Speaks in operations: what callers ask for, what dispatchers ask for, what happens by itself.

``operations`` has one file for each verb, ``dispatch`` leases and reports, ``background`` runs
without a call. docs/engine.md has every entry point on one page, with its states and locks.
"""
