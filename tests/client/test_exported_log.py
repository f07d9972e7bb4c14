"""The log that OpenTelemetry's agent exports: the lines that stderr has, and no more."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from zart.logs import configure_logging


@pytest.fixture
def exported() -> Iterator[InMemoryLogRecordExporter]:
    """What an agent exports whose handler was there first, as it is; pytest's own are set aside."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    untyped: Any = InMemoryLogRecordExporter
    exporter: InMemoryLogRecordExporter = untyped()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    with pytest.warns(DeprecationWarning, match="LoggingHandler"):
        handler = LoggingHandler(logger_provider=provider)
    root.handlers[:] = [handler]
    yield exporter
    root.handlers[:] = handlers
    root.setLevel(level)
    provider.shutdown()


@pytest.mark.parametrize("tracebacks", [False, True])
def test_an_agent_has_the_lines_and_of_exceptions_what_stderr_has(
    exported: InMemoryLogRecordExporter, monkeypatch: pytest.MonkeyPatch, *, tracebacks: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", written := io.StringIO())
    for _ in range(2):  # a process of several that are one server does it again
        configure_logging("info", "json", tracebacks=tracebacks)
    log = logging.getLogger("zart.tests")
    log.info("all is well", extra={"execution_id": "x"})
    try:
        int("a secret")
    except ValueError:
        log.exception("failed")
    well, failed = (each.log_record for each in exported.get_finished_logs())
    assert (well.body, failed.body) == ("all is well", "failed")
    assert dict(well.attributes or {})["execution_id"] == "x"
    assert ("a secret" in str(failed.attributes)) is tracebacks
    assert "ValueError" in str(failed.attributes)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["all is well", "failed"]
    assert "ValueError" in lines[1]["exception"]
    assert ("a secret" in lines[1]["exception"]) is tracebacks


def test_what_others_have_put_there_is_no_part_of_it(
    exported: InMemoryLogRecordExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever logged by then would say each line twice."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    logging.getLogger().addHandler(logging.StreamHandler(other := io.StringIO()))
    configure_logging("info", "json")
    logging.getLogger("zart.tests").info("once")
    assert other.getvalue() == ""
    assert len(exported.get_finished_logs()) == 1
