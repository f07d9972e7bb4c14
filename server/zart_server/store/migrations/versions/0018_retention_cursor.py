"""The pass of retention keeps how far it has come."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Add the column."""
    run_script("0018_retention_cursor.sql")
