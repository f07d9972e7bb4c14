"""Retention: for how long finished executions are kept, and what was removed of them."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add what is set by task, and the record of what was removed."""
    run_script("0016_retention.sql")
