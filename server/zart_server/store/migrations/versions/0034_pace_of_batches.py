"""Batches know since when they go as they do now."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    """Add the columns."""
    run_script("0034_pace_of_batches.sql")
