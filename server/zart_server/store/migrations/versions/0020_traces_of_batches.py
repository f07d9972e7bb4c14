"""Batches know the trace that they were created within."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Add the column."""
    run_script("0020_traces_of_batches.sql")
