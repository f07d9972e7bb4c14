"""One operation is done to many steps or executions, each of them once."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add batches and their items."""
    run_script("0014_batches.sql")
