"""Runs know the trace that their execution belongs to."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the column."""
    run_script("0016_traces.sql")
