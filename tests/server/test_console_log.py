"""The log for people at a terminal shows what callers wrote and does nothing of it."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from zart.logs import configure_logging

HOSTILE = "x\x1b]52;c;aGk=\x07\x1b[2J\r\x9b31m\u202e\nlevel=info all is well"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged on the console meanwhile."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", written := io.StringIO())
    configure_logging("info", "console")
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)


def control_characters(text: str) -> set[str]:
    """Those that are left, but for newlines and the colours that the log has of its own."""
    for code in ("0", "1", "2", "31", "32", "33", "34", "35", "36"):
        text = text.replace(f"\x1b[{code}m", "")
    return {c for c in text if not c.isprintable() and c != "\n"}


def test_values_events_and_loggers_names_are_escaped(log: io.StringIO) -> None:
    said = {"execution_id": HOSTILE, "fields": [HOSTILE], "error": ValueError(HOSTILE)}
    logging.getLogger("zart.calls").info("call", extra=said)
    logging.getLogger(HOSTILE).warning("from elsewhere: %s", HOSTILE)
    assert control_characters(log.getvalue()) == set()
    assert "\\x1b]52" in log.getvalue()
    assert len(log.getvalue().splitlines()) == 2  # nobody can forge a line


def test_a_traceback_keeps_its_lines(log: io.StringIO) -> None:
    try:
        int(HOSTILE)
    except ValueError:
        logging.getLogger("zart").exception("failed", extra={"who": HOSTILE})
    assert control_characters(log.getvalue()) == set()
    assert len(log.getvalue().splitlines()) > 1


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_dispatchers_log_has_all_that_an_exception_says_and_escapes_it(
    log: io.StringIO, monkeypatch: pytest.MonkeyPatch, style: str
) -> None:
    monkeypatch.setattr(sys, "stderr", log)
    configure_logging("info", style, tracebacks=True)
    try:
        int(HOSTILE)
    except ValueError:
        logging.getLogger("tasks").exception("told: %s", HOSTILE)
    assert control_characters(log.getvalue()) == set()
    assert "invalid literal" in log.getvalue()


def test_no_colours_but_at_a_terminal(log: io.StringIO) -> None:
    """What is written to a file, or to a service's log, is text."""
    logging.getLogger("zart.calls").warning("call", extra={"code": "OK"})
    assert "code=OK" in log.getvalue()
    assert "\x1b" not in log.getvalue()
