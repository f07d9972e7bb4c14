"""Leased tasks apart from queued ones, completed attempts in their steps."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Move what is leased and what is completed to where it stands now."""
    run_script("0003_leases.sql")
