"""Runs know the trace that their execution belongs to."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Add the column."""
    run_script("0017_traces.sql")
