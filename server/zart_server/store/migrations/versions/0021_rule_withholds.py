"""Filters find what a rule withholds, also where another rule has it."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Add the function."""
    run_script("0021_rule_withholds.sql")
