"""Breakers are judged by all that ended, and when their settings are changed."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    """Add what is counted of other errors, and when settings were changed."""
    run_script("0029_judging_breakers.sql")
