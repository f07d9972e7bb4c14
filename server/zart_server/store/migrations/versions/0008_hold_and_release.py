"""Pause rules have exemptions and paced releases; refused and planned calls are on record."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add what a rule lets go, the tokens between which it stood, and attempts at operations."""
    run_script("0008_hold_and_release.sql")
