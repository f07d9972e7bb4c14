"""Dead steps of current runs can be found by their error."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add dead steps and the groups of their errors, of what is dead already, too."""
    run_script("0013_dead_steps.sql")
