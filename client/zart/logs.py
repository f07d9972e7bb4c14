"""How processes of zart log: one shape for server, gateway and dispatcher, made by structlog."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

import structlog

from zart.printable import escaped, one_line
from zart.tracebacks import locations_of

LEVELS = ("debug", "info", "warning", "error")
STYLES = ("auto", "console", "json")

PROCESSORS: tuple[structlog.typing.Processor, ...] = (
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
"""The processors of every record, of any logger."""


def log_as_the_environment_says(
    environment: Mapping[str, str] = os.environ, *, tracebacks: bool = False
) -> None:
    """Log by ZART_LOG_LEVEL and ZART_LOG_FORMAT. Raises ValueError where they say nothing known."""
    level = (environment.get("ZART_LOG_LEVEL") or "info").lower()
    style = (environment.get("ZART_LOG_FORMAT") or "auto").lower()
    for name, value, known in (
        ("ZART_LOG_LEVEL", level, LEVELS),
        ("ZART_LOG_FORMAT", style, STYLES),
    ):
        if value not in known:
            raise ValueError(f"{name}: {value!r} is none of {', '.join(known)}")
    configure_logging(level, style, tracebacks=tracebacks)


def configure_logging(level: str, style: str, *, tracebacks: bool = False) -> None:
    """Log to stderr: for people on a terminal, as JSON lines otherwise.

    Of an exception it logs types and lines of code, never a payload. With ``tracebacks`` all that
    it says: in a process that runs code of the reader's own, who logged it.
    """
    for_people = style == "console" or (style == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*PROCESSORS, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info if tracebacks else _tell_places,
                *([_escape] if for_people else []),
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _tell_places(
    _logger: object, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Say of an exception what kind it is and where it was raised, never what it says."""
    found = event.pop("exc_info", None)
    error = sys.exception() if found is True else found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["exception"] = locations_of(error)
    return event


def _escape(
    _logger: object, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Keep callers' text from steering the terminal; what is no text, the renderer escapes."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = escaped(value) if key == "exception" else one_line(value)
    return event
