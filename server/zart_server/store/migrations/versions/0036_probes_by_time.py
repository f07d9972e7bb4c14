"""What a rule let go since a moment is found by an index."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0036"
down_revision = "0035"


def upgrade() -> None:
    """Add the index."""
    run_script("0036_probes_by_time.sql")
