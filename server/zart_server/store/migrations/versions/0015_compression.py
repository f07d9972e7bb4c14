"""Payloads, inputs, results and stored responses are compressed by lz4, where there is lz4."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Set how these columns are compressed from now on."""
    run_script("0015_compression.sql")
