"""The tables, what keeps history as it was, and the operators' views."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create everything in an empty database."""
    run_script("0001_tables.sql")
    run_script("0001_append_only.sql")
    run_script("0001_views.sql")
