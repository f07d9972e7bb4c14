"""The view of pause rules has their breakers, drains and exemptions."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Replace the view."""
    run_script("0022_pause_rules_view.sql")
