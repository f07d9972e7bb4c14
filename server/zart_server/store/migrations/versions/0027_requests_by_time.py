"""Old requests are found by their time."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Have them looked up by a key."""
    run_script("0027_requests_by_time.sql")
