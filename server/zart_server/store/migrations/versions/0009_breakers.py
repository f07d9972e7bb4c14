"""Breakers pause steps by themselves when too many attempts end badly."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add breakers, what they count, and the time of attempts as an index."""
    run_script("0009_breakers.sql")
