"""Who traces ends soon all the same where the collector takes connections and never answers.

The exporter waits for an answer for as long as it was told, here for longer than tests wait.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance.serve_process import ServeProcess
from waiting import GIVE_UP

import zart

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
        yield {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{listener.getsockname()[1]}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": str(10 * GIVE_UP),  # seconds: so Python's SDK takes it
        }


async def test_a_server_stops(zart_database: str, tmp_path: Path, away: dict[str, str]) -> None:
    log = tmp_path / "server.log"
    server = ServeProcess(zart_database, log, **away)
    server.start()
    server.until_listening()
    async with zart.connect(server.address) as client:
        await client.list_task_definitions()
    assert server.stop() == 0
    assert "the last spans are lost" in log.read_text()


def test_so_does_any_process_at_its_end(away: dict[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENDS],
        env={**os.environ, **away}, capture_output=True, text=True, check=True, timeout=GIVE_UP,
    )  # fmt: skip
    assert "the last spans are lost" in ended.stderr
