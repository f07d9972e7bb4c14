"""Pausing at scale: lanes know their step, rules the epoch they changed in."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns and indexes."""
    run_script("0004_pausing.sql")
