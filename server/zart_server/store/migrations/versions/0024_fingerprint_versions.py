"""Errors are grouped by versions of the fingerprint, of which one is in use."""

from __future__ import annotations

from zart_server.store.migrations.script import run_script

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Say which version is in use, and make room for former groups."""
    run_script("0024_fingerprint_versions.sql")
