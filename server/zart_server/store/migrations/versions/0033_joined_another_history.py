"""When a history was joined is when another one was, not when the last server began."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    """Keep the time where the history stays the same."""
    run_script("0033_joined_another_history.sql")
