"""Items of batches are looked up by their batch and number, by no other key."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Have lookups of items go by the keys that are meant."""
    run_script("0025_items_by_execution.sql")
