"""Logs, one structured line per call, and metrics."""

from __future__ import annotations

import logging
import sys

import structlog
from prometheus_client import Counter, Histogram, start_http_server

from zart.printable import escaped, one_line
from zart.tracebacks import places_of

CALLS = Counter("zart_calls_total", "Calls by method and outcome", ["method", "code", "reason"])
SECONDS = Histogram(
    "zart_call_seconds",
    "Duration of calls",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)


_SHARED: list[structlog.typing.Processor] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def log_through_logging() -> None:
    """Hand what is logged to the standard library, whose levels and handlers decide."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def configure_logging(level: str, style: str) -> None:
    """Log through structlog to stderr: for people on a terminal, as JSON lines otherwise."""
    for_people = style == "console" or (style == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        # Its own tracebacks would show the values of variables.
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if for_people
        else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _tell_places,
                *([_escape] if for_people else []),
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Alembic tells how it finds its plugins, at every start.
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _tell_places(
    _logger: object, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Say of an exception what kind it is and where it was raised, never what it says."""
    found = event.pop("exc_info", None)
    error = sys.exception() if found is True else found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["exception"] = places_of(error)
    return event


def _escape(
    _logger: object, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Keep callers' text from steering the terminal; what is no text, the renderer escapes."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = escaped(value) if key == "exception" else one_line(value)
    return event


def serve_metrics(port: int) -> None:
    """Serve Prometheus metrics on loopback."""
    start_http_server(port, addr="127.0.0.1")
