"""The one row that tells the fingerprint's version has a primary key."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    """Give it one, in place of the index that kept it the only one."""
    run_script("0032_fingerprint_version_key.sql")
