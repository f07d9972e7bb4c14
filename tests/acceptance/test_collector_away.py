"""Who traces ends soon all the same where the collector takes connections and never answers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance.serve_process import ServeProcess
from waiting import GIVE_UP

import zart

SOON = 9.0  # seconds, on a busy machine; two are for the spans, and it took ten and more
ENDS = """
from opentelemetry import trace
from zart.tracing import flush, trace_as_the_environment_says, tracer

trace_as_the_environment_says("test")
tracer().start_span("last").end()
flush()
"""


@pytest.fixture
def away() -> Iterator[dict[str, str]]:
    """A collector that accepts and never answers, as variables name it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{listener.getsockname()[1]}"}


async def test_a_server_stops(zart_database: str, tmp_path: Path, away: dict[str, str]) -> None:
    log = tmp_path / "server.log"
    server = ServeProcess(zart_database, log, **away)
    server.start()
    server.until_listening()
    async with zart.connect(server.address) as client:
        await client.list_task_definitions()
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < SOON
    assert "the last spans are lost" in log.read_text()


def test_so_does_any_process_at_its_end(away: dict[str, str]) -> None:
    begun = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", ENDS],
        env={**os.environ, **away}, capture_output=True, text=True, check=True, timeout=GIVE_UP,
    )  # fmt: skip
    assert time.monotonic() - begun < SOON
    assert "the last spans are lost" in ended.stderr
