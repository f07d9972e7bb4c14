"""Who it was, as the server verified it: the principal of runs, attempts, rules and operations."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns, and show them in the views."""
    run_script("0002_identity.sql")
