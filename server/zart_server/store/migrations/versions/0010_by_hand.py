"""Operators end steps by hand."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add who completed a step, and the mark of runs that go by the rows of their steps."""
    run_script("0010_by_hand.sql")
