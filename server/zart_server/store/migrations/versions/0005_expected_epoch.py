"""One statement starts an execution: it may expect the pause rules that it was judged by."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the function."""
    run_script("0005_expected_epoch.sql")
