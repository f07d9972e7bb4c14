"""Who traces ends soon all the same where the collector takes calls and never answers.

By itself it would say nothing of two seconds: the exporter waits for as long as it was told, here
for longer than tests wait, and the SDK gives up after half a minute.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from acceptance.serve_process import ServeProcess
from waiting import GIVE_UP

import zart

LOST = "the last spans are lost: they are not exported within 2 s"
ENDS = """
from opentelemetry import trace
from zart.tracing import flush, trace_as_the_environment_says, tracer

trace_as_the_environment_says("test")
tracer().start_span("last").end()
flush()
"""


@pytest.fixture
def away() -> Iterator[dict[str, str]]:
    """A collector that takes calls and never answers, as variables name it."""
    is_over = threading.Event()

    def hang(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        is_over.wait()
        return b""

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(hang)
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    collector = grpc.server(ThreadPoolExecutor())
    collector.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"Export": handler}),)
    )
    port = collector.add_insecure_port("127.0.0.1:0")
    collector.start()
    yield {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": str(10 * GIVE_UP),  # seconds: so Python's SDK takes it
    }
    is_over.set()
    collector.stop(None).wait()


async def test_a_server_stops(zart_database: str, tmp_path: Path, away: dict[str, str]) -> None:
    log = tmp_path / "server.log"
    server = ServeProcess(zart_database, log, **away)
    server.start()
    server.until_listening()
    async with zart.connect(server.address) as client:
        await client.list_task_definitions()
    assert server.stop() == 0
    assert LOST in log.read_text()


def test_so_does_any_process_at_its_end(away: dict[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENDS],
        env={**os.environ, **away}, capture_output=True, text=True, check=True, timeout=GIVE_UP,
    )  # fmt: skip
    assert LOST in ended.stderr
