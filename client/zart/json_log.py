"""Log records as lines of JSON, cheaply: a server writes one for each call."""

from __future__ import annotations

import json
import logging
import time

from zart.trace_context import current_ids
from zart.tracebacks import locations_of

_BLANK = logging.makeLogRecord({}).__dict__
# What else a record has, whoever logged it gave as `extra`.
_OF_EVERY_RECORD = frozenset({*_BLANK, "message", "asctime", "taskName"})
_encode = json.JSONEncoder(default=repr, allow_nan=False).encode


def _plain(value: object) -> object:
    """Return what JSON has of a value, else its text."""
    return value if isinstance(value, (str, int)) else repr(value)


class EventRecord(logging.LogRecord):
    """An event with fields, none of which may be named like an attribute of every record.

    It is made in a third of a LogRecord's time, since it looks neither for the thread nor for the
    line of code that logs: no line of ours tells them.
    """

    __slots__ = ("fields",)

    def __init__(self, name: str, level: int, event: str, fields: dict[str, object]) -> None:
        self.fields = fields
        self.__dict__.update(_BLANK)
        self.__dict__.update(fields)
        self.name = name
        self.msg = event
        self.levelno = level
        self.levelname = logging.getLevelName(level)
        self.created = created = time.time()
        self.msecs = created % 1 * 1000


def log_event(logger: logging.Logger, level: int, event: str, fields: dict[str, object]) -> None:
    """Log an event with fields, as ``EventRecord`` has them."""
    if logger.isEnabledFor(level):
        logger.handle(EventRecord(logger.name, level, event, fields))


class JsonFormatter(logging.Formatter):
    """One object a line: event, fields, level, logger, timestamp, and the current span, if any.

    Of an exception it has types and lines of code; with ``tracebacks`` all that it says.
    """

    def __init__(self, *, tracebacks: bool) -> None:
        super().__init__()
        self._tracebacks = tracebacks
        self._second = 0
        self._written = ""  # that second

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {"event": record.getMessage()}
        if isinstance(record, EventRecord):
            line |= record.fields
        else:
            line |= {
                name: value
                for name, value in record.__dict__.items()
                if name not in _OF_EVERY_RECORD and name != "event"
            }
        line["level"] = record.levelname.lower()
        line["logger"] = record.name
        line["timestamp"] = self._time_of(record.created)
        # One about an attempt says itself of which trace that is, whatever it is logged within.
        if (ids := current_ids()) is not None and line.get("trace_id", ids[0]) == ids[0]:
            line["trace_id"], line["span_id"] = ids
        # Some say that there is no exception by False, which no type foresees.
        if (told := record.exc_info) and (error := told[1]) is not None:
            line["exception"] = (
                self.formatException(told) if self._tracebacks else locations_of(error)
            )
        try:
            return _encode(line)
        except (TypeError, ValueError, RecursionError):  # keys that are no text, NaN, a circle
            return _encode({key: _plain(value) for key, value in line.items()})

    def _time_of(self, seconds: float) -> str:
        """Return the time in UTC by ISO 8601; each second is written once."""
        second = int(seconds)
        if second != self._second:
            self._written = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._written}.{int((seconds - second) * 1e6):06d}Z"
