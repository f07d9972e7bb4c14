"""The view of steps tells the errors that the API tells; an index that nothing reads goes."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    """Replace the view and drop the index."""
    run_script("0028_last_errors.sql")
