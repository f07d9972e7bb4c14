"""Which rule pauses a step is asked with its attempt only."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    """Drop the function that was asked without it."""
    run_script("0030_pausing_rule_of_three.sql")
