"""A PostgreSQL of one's own from a wheel's binaries: for `zart dev`, `make run` and tests.

It imports nothing of the rest of the server.
"""
