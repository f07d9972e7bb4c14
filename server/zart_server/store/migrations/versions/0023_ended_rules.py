"""Pause rules are found by when they ended."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Make the index."""
    run_script("0023_ended_rules.sql")
