"""Lists have an index for each filter, in the order of the list."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add what a run says of its execution, and the indexes."""
    run_script("0007_lists.sql")
