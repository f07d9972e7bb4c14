"""Operating at scale: lanes know their step, rules their epoch, runs where a payload stands."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns and indexes."""
    run_script("0004_operating.sql")
