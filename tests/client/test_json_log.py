"""The lines of a log that a program reads: one object each, whoever logged it and however."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from zart.json_log import JsonFormatter, log_event

FIELDS = {"method": "Restart", "ms": 1.25, "peer": "ipv4:127.0.0.1"}


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the logger of this test writes."""
    yield from writing(JsonFormatter(tracebacks=False))


@pytest.fixture
def told_whole() -> Iterator[io.StringIO]:
    """The same, with all that exceptions say."""
    yield from writing(JsonFormatter(tracebacks=True))


def writing(formatter: logging.Formatter) -> Iterator[io.StringIO]:
    handler = logging.StreamHandler(stream := io.StringIO())
    handler.setFormatter(formatter)
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    yield stream
    LOGGER.removeHandler(handler)


LOGGER = logging.getLogger("tests.json_log")


def lines_of(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_the_same_line_by_either_way(written: io.StringIO) -> None:
    before = datetime.now(UTC)
    LOGGER.info("call", extra=FIELDS)
    log_event(LOGGER, logging.INFO, "call", FIELDS)
    log_event(LOGGER, logging.DEBUG, "call", FIELDS)  # not asked for

    one, other = lines_of(written)
    for line in (one, other):
        at = datetime.fromisoformat(str(line.pop("timestamp")))
        assert before <= at <= datetime.now(UTC)
    assert one == other
    assert one == {"event": "call", **FIELDS, "level": "info", "logger": LOGGER.name}


def test_an_event_can_be_formatted_as_any_record(
    written: io.StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        log_event(LOGGER, logging.WARNING, "call", FIELDS)
    shape = "%(asctime)s %(levelname)s %(name)s %(threadName)s %(filename)s:%(lineno)d %(message)s"
    (record,) = caplog.records
    text = logging.Formatter(f"{shape} %(method)s").format(record)
    stamp, _, rest = text.partition(" WARNING ")

    assert rest.endswith(":0 call Restart")
    assert stamp.endswith(f",{int(record.msecs):03d}")


def test_of_an_exception_types_and_places_are_told_and_no_text(
    written: io.StringIO, told_whole: io.StringIO
) -> None:
    try:
        int("a secret")
    except ValueError:
        LOGGER.exception("failed")

    (line,) = lines_of(written)
    assert "secret" not in written.getvalue()
    assert str(line["exception"]).startswith("builtins.ValueError, raised at:")
    assert "a secret" in str(lines_of(told_whole)[0]["exception"])


def test_what_is_no_json_is_told_as_text_on_one_line(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LOGGER, "propagate", False)  # pytest's reports cannot take a lone surrogate
    LOGGER.info("odd: %s", "\n\udfff", extra={"a": {1}, "b": b"x", "c": "\x1b[2J\u2028"})

    (line,) = lines_of(written)
    assert written.getvalue().isascii()
    assert written.getvalue().count("\n") == 1
    assert (line["a"], line["b"], line["c"]) == ("{1}", "b'x'", "\x1b[2J\u2028")
    assert line["event"] == "odd: \n\udfff"


def test_no_line_is_lost_whatever_is_logged(written: io.StringIO) -> None:
    """What is no JSON at all is told as text; the exporter of spans says exc_info=False."""
    circle: list[object] = []
    circle.append(circle)
    for odd in ({(1, 2): 3}, float("nan"), [float("inf")], circle):
        LOGGER.info("odd", extra={"fine": 7, "odd": odd})
    LOGGER.error("lost", exc_info=False)
    LOGGER.info("said", extra={"event": "another"})

    *odd_ones, failed, said = lines_of(written)
    told = [line["odd"] for line in odd_ones]
    assert told == ["{(1, 2): 3}", "nan", "[inf]", "[[...]]"]
    assert {line["fine"] for line in odd_ones} == {7}
    assert (failed["event"], "exception" in failed) == ("lost", False)
    assert said["event"] == "said"
