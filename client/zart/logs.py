"""How processes of zart log: one shape for server, gateway, dispatcher and dev."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence

import structlog

from zart.json_log import JsonFormatter
from zart.printable import escaped, one_line
from zart.trace_context import current_ids
from zart.tracebacks import locations_of

LEVELS = ("debug", "info", "warning", "error")
STYLES = ("auto", "console", "json")


def level_of(text: str) -> str:
    """Return the level that ZART_LOG_LEVEL asks for, info if it is empty. Raises ValueError."""
    return _one_of(LEVELS, text or "info")


def style_of(text: str) -> str:
    """Return the style that ZART_LOG_FORMAT asks for, auto if it is empty. Raises ValueError."""
    return _one_of(STYLES, text or "auto")


def log_as_the_environment_says(
    environment: Mapping[str, str] = os.environ, *, tracebacks: bool = False
) -> None:
    """Log by ZART_LOG_LEVEL and ZART_LOG_FORMAT. Raises ValueError where they say nothing known."""
    asked = []
    for name, meaning in (("ZART_LOG_LEVEL", level_of), ("ZART_LOG_FORMAT", style_of)):
        try:
            asked.append(meaning(environment.get(name, "")))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    level, style = asked
    configure_logging(level, style, tracebacks=tracebacks)


def _one_of(known: Sequence[str], text: str) -> str:
    if text.lower() not in known:
        raise ValueError(f"{text!r} is none of {', '.join(known)}")
    return text.lower()


def configure_logging(level: str, style: str, *, tracebacks: bool = False) -> None:
    """Log to stderr: for people on a terminal, as JSON lines otherwise.

    Of an exception it logs types and lines of code, never a payload. With ``tracebacks`` all that
    it says: in a process that runs code of the reader's own, who logged it. What OpenTelemetry's
    agent has put there to export lines goes on, and is told as little.
    """
    for_people = style == "console" or (style == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _for_people(tracebacks=tracebacks) if for_people else JsonFormatter(tracebacks=tracebacks)
    )
    root = logging.getLogger()
    agents = [each for each in root.handlers if _is_an_agents(each)]
    if not tracebacks:
        for each in agents:
            each.addFilter(_without_text)
    root.handlers[:] = [handler, *agents]  # it writes a line before they take its text out
    root.setLevel(level.upper())


def _is_an_agents(handler: logging.Handler) -> bool:
    """Return whether OpenTelemetry made it: its agent does so before anything of ours runs."""
    return type(handler).__module__.startswith("opentelemetry.")


def _without_text(record: logging.LogRecord) -> bool:
    """Tell of an exception types and lines of code only, to whoever takes the record then."""
    if (told := record.exc_info) and (error := told[1]) is not None:
        record.__dict__["exception"] = locations_of(error)
    record.exc_info = record.exc_text = None
    return True


def _for_people(*, tracebacks: bool) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ExtraAdder(),
            _tell_trace,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info if tracebacks else _tell_places,
            _escape,
            structlog.dev.ConsoleRenderer(colors=_is_coloured()),
        ],
    )


def _is_coloured() -> bool:
    """Return whether who reads wants colours: a terminal does, unless NO_COLOR is set."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def _tell_trace(
    _logger: object, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Say of which trace it is, unless it says so itself; the span is for programs."""
    if (ids := current_ids()) is not None:
        event.setdefault("trace_id", ids[0])
    return event


def _tell_places(
    _logger: object, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Say of an exception what kind it is and where it was raised, never what it says."""
    found = event.pop("exc_info", None)
    if isinstance(found, tuple) and found[1] is not None:
        event["exception"] = locations_of(found[1])
    return event


def _escape(
    _logger: object, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Keep callers' text from steering the terminal; what is no text, the renderer escapes."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = escaped(value) if key == "exception" else one_line(value)
    return event
