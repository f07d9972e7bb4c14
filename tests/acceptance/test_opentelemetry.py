"""OpenTelemetry's agent wraps every handler and every channel: all works, and is traced."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from acceptance.serve_process import ServeProcess
from gateway.sending import Http
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from ports import free_port
from rig import CHAIN, specs
from waiting import GIVE_UP, block_until, until

import zart
from zart import errors
from zart.testing.server import ServerUnderTest

AGENT = Path(sys.executable).parent / "opentelemetry-instrument"
TRACING = [
    str(AGENT), "--traces_exporter=console", "--metrics_exporter=none", "--logs_exporter=none",
]  # fmt: skip
WATCHING = '"name": "zart.v1.ExecutionService/WatchExecution"'  # the span of ours
QUIET = [TRACING[0], "--traces_exporter=none", *TRACING[2:]]

pytestmark = pytest.mark.skipif(not AGENT.exists(), reason="the agent is not installed")


@pytest.fixture
def traced(zart_database: str, tmp_path: Path) -> Iterator[ServeProcess]:
    """A server under the agent."""
    server = ServeProcess(zart_database, tmp_path / "server.log", under=TRACING)
    server.start()
    try:
        server.until_listening()
        yield server
    finally:
        server.stop()


async def test_calls_and_streams_are_served_under_the_agent(
    traced: ServeProcess, tmp_path: Path
) -> None:
    async with zart.connect(traced.address) as client:
        reflecting = reflection_pb2_grpc.ServerReflectionStub(client.channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        )
        listed = await reflecting.read()
        assert "zart.v1.AdminService" in {s.name for s in listed.list_services_response.service}
        watching = health_pb2_grpc.HealthStub(client.channel).Watch(
            health_pb2.HealthCheckRequest(service="")
        )
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
        watching.cancel()

        await client.start("t", execution_id="x", steps=specs(CHAIN))
        states = []
        async for state in client.watch_execution("x"):
            states.append(state.run.status.value)
            for task in await client.lease_tasks("d", ["t"]):
                done = zart.Outcome(task.task_id, task.lease_token, zart.Completed(1))
                await client.report_tasks("d", [done])
        assert (states[0], states[-1]) == ("SCHEDULED", "COMPLETED")
        with pytest.raises(errors.ExecutionNotFound):
            await anext(aiter(client.watch_execution("nobody")))
        with pytest.raises(grpc.RpcError) as unknown:
            await anext(
                aiter(client.channel.unary_stream("/zart.v1.AdminService/Nothing", bytes)(0))
            )
        assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
    log = tmp_path / "server.log"
    missing = [WATCHING, '"zart.reason": "EXECUTION_NOT_FOUND"']
    await until(lambda: all(text in log.read_text() for text in missing))
    assert "__aiter__" not in log.read_text()


def takes_connections(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False


def agents_environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("ZART_")}


def test_the_command_and_the_gateway_work_under_the_agent(zart_server: ServerUnderTest) -> None:
    """Both read a stream through the agent's interceptors."""
    with zart.connect_sync(zart_server.address) as client:
        client.start("t", execution_id="x", steps=specs({"a": ()}))
        (task,) = client.lease_tasks("d", ["t"])
        client.report_tasks("d", [zart.Outcome(task.task_id, task.lease_token, zart.Completed(1))])
    program = [*QUIET, sys.executable, "-m", "zart.cli", "--address", zart_server.address]
    listen = f"127.0.0.1:{free_port()}"
    gateway = subprocess.Popen([*program, "gateway", "--listen", listen], env=agents_environment())
    try:
        done = subprocess.run(
            [*program, "wait", "x"],
            env=agents_environment(), capture_output=True, text=True, check=False, timeout=GIVE_UP,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        block_until(lambda: takes_connections(listen))
        watched = Http(listen).get("/api/v1/executions/x/watch")
        assert watched.status == 200
        (line,) = watched.text.splitlines()
        assert json.loads(line)["run"]["status"] == "RUN_STATUS_COMPLETED"
        missing = Http(listen).get("/api/v1/executions/y/watch")
        assert (missing.status, missing.reason) == (404, "EXECUTION_NOT_FOUND")
    finally:
        gateway.terminate()
        gateway.wait(GIVE_UP)
