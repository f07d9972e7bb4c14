"""Logs: one structured line per call."""

from __future__ import annotations

import logging

import structlog

from zart import logs


def log_through_logging() -> None:
    """Hand what is logged to the standard library, whose levels and handlers decide."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *logs.PROCESSORS,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def configure_logging(level: str, style: str) -> None:
    """Log to stderr, as every process of zart does."""
    logs.configure_logging(level, style)
    # Alembic tells how it finds its plugins, at every start.
    logging.getLogger("alembic").setLevel(logging.WARNING)
