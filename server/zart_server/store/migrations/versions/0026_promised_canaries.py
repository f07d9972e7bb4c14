"""A promised canary is of the steps that were ready when it was promised."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Note with each promise up to which step it reaches."""
    run_script("0026_promised_canaries.sql")
