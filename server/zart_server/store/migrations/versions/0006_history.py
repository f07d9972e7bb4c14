"""Lease tokens tell one history of the database from another."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the table and the function."""
    run_script("0006_history.sql")
