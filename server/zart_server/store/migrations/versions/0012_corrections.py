"""An operator's corrections of the inputs of steps."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add corrected inputs, and which of them a task is for."""
    run_script("0012_corrections.sql")
