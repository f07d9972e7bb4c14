"""Finds out who calls: static tokens, JWTs, client certificates. Speaks neither gRPC nor SQL."""
