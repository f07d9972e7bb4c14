"""Logs: one structured line per call."""

from __future__ import annotations

import logging

from zart import logs


def configure_logging(level: str, style: str) -> None:
    """Log to stderr, as every process of zart does."""
    logs.configure_logging(level, style)
    # Alembic tells how it finds its plugins, at every start.
    logging.getLogger("alembic").setLevel(logging.WARNING)
