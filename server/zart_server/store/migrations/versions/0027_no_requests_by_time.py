"""Old requests are looked for block by block."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Drop the index that found them by ranges of blocks."""
    run_script("0027_no_requests_by_time.sql")
