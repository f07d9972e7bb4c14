"""Which rule pauses a step is found without compiling the patterns of all rules."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Replace the function, and add one of settling rules."""
    run_script("0019_settling_rules.sql")
