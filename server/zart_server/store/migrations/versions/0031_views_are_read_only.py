"""The views are read, and never written through."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    """Replace the views of one table each."""
    run_script("0031_views_are_read_only.sql")
