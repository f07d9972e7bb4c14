"""When a history was joined that may lack commits is known by lease token."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    """Add the table, and have whoever joins such a history write it."""
    run_script("0035_possible_losses.sql")
