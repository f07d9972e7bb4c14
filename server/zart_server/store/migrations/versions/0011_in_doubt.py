"""Attempts that may have had their effect, though they were not reported."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add attempts in doubt."""
    run_script("0011_in_doubt.sql")
