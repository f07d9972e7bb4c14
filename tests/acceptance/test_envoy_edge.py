"""What Envoy does to a call on its way: TLS, metadata, sizes, paths, time."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import yaml
from acceptance.edge import DEPLOY, ENVOY, Edge, edge, write_certificate
from authority import Authority
from cryptography import x509
from google.protobuf import empty_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from issuing import TokenFile
from rig import CHAIN, Rig, eventually, specs
from waiting import GIVE_UP, until

import zart
from zart import errors
from zart.testing.server import ServerUnderTest, serving

MIB = 1024 * 1024


@pytest.fixture
def envoy(zart_server: ServerUnderTest, tmp_path: Path) -> Iterator[Edge]:
    """Envoy in front of one server."""
    with edge(tmp_path, [zart_server.address]) as running:
        yield running


def shown_certificate(envoy: Edge) -> bytes:
    """Connect anew and give the certificate that is shown."""
    with contextlib.closing(envoy.https()) as connection:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        shown = connection.sock.getpeercert(binary_form=True)
        assert shown is not None
        return shown


async def test_callers_come_with_tls_and_a_new_certificate_needs_no_restart(
    envoy: Edge,
) -> None:
    for credentials in (None, grpc.ssl_channel_credentials()):
        channel = (
            grpc.aio.secure_channel(envoy.address, credentials)
            if credentials
            else grpc.aio.insecure_channel(envoy.address)
        )
        async with zart.Client(channel) as stranger:
            with pytest.raises(zart.Unreachable):
                await stranger.list_executions()

    async with zart.Client(envoy.channel()) as client:
        assert await client.list_executions() == []
        before = shown_certificate(envoy)
        write_certificate(envoy.folder / "tls", envoy.authority)

        async def renewed() -> bool:
            return await asyncio.to_thread(shown_certificate, envoy) != before

        await eventually(renewed)
        assert await client.list_executions() == []  # on the connection that it has


async def test_messages_of_15_mib_pass(envoy: Edge, rig: Rig) -> None:
    text = "x" * (MIB - 2)
    starts = [zart.Start("t", text, f"x{n}", specs({"a": ()})) for n in range(15)]
    async with zart.Client(envoy.channel(), timeout=GIVE_UP) as client:
        assert len(await client.batch_start_executions(starts)) == 15
        assert (await client.get_execution("x14")).run.payload == text


async def test_a_watch_that_is_silent_for_too_long_is_taken_up_again(
    zart_server: ServerUnderTest, tmp_path: Path, rig: Rig
) -> None:
    def soon(config: Any) -> None:
        for route in routes(config):
            if "idle_timeout" in route["route"]:
                route["route"]["idle_timeout"] = "0.2s"

    with edge(tmp_path, [zart_server.address], change=soon) as envoy:
        async with zart.Client(envoy.channel()) as client:
            await rig.start("x", {"a": ()})
            waiting = asyncio.create_task(client.handle("x").result())

            idle = "http.edge.downstream_rq_idle_timeout"
            await until(lambda: envoy.counter(idle) >= 2)  # it is cut twice
            await rig.work()
            assert await asyncio.wait_for(waiting, GIVE_UP) == "a"


def routes(config: Any) -> list[Any]:
    """Find the routes in the configuration."""
    (listener,) = config["static_resources"]["listeners"]
    http_filter = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (host,) = http_filter["route_config"]["virtual_hosts"]
    found: list[Any] = host["routes"]
    return found


def test_no_poll_is_cut() -> None:
    """Which route repeats what is in `shipped/test_envoy_routes.py`."""
    config = yaml.safe_load((DEPLOY / "envoy.yaml").read_text())
    (listener,) = config["static_resources"]["listeners"]
    http_filter = listener["filter_chains"][0]["filters"][0]["typed_config"]
    longest_poll = 60
    assert float(http_filter["stream_idle_timeout"].removesuffix("s")) >= longest_poll + 15
    (host,) = http_filter["route_config"]["virtual_hosts"]
    for route in routes(config):
        timeout = float(route["route"]["timeout"].removesuffix("s"))
        assert timeout == 0 or timeout >= longest_poll + 15
    assert host["retry_policy"]["retry_on"] == "connect-failure,refused-stream,reset-before-request"


@pytest.mark.parametrize("marks", [(), ("#tls ",), ("#https ",), ("#tls ", "#https ")])
def test_envoy_accepts_the_configuration_as_it_stands(
    marks: tuple[str, ...], tmp_path: Path
) -> None:
    write_certificate(tmp_path / "tls", Authority(tmp_path / "authority"))
    for name in ("envoy.yaml", "certificate.yaml"):
        text = (DEPLOY / name).read_text()
        for mark in marks:
            text = text.replace(mark, "")
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [str(ENVOY), "--mode", "validate", "-c", "envoy.yaml", "--log-level", "warning"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=GIVE_UP,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.asynccontextmanager
async def listening_server(heard: list[dict[str, Any]]) -> AsyncIterator[str]:
    """Run a server that answers everything and keeps the metadata that it was sent."""

    async def hear(_request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        heard.append(dict(context.invocation_metadata() or ()))
        return empty_pb2.Empty().SerializeToString()

    class Everything(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> Any:
            if details.method.startswith("/grpc.health."):
                return None
            return grpc.unary_unary_rpc_method_handler(hear)

    server = grpc.aio.server()
    health = HealthServicer()
    await health.set("zart.v1.ExecutionService", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    server.add_generic_rpc_handlers([Everything()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def test_identity_and_trace_context_reach_the_server_as_they_came(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []
    sent = {
        "authorization": "Bearer a.b.c",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "vendor=1",
    }
    forged = {"x-forwarded-client-cert": "By=admin", "x-envoy-max-retries": "9"}
    claimed = {"x-forwarded-for": "203.0.113.7"}
    async with listening_server(heard) as address:
        running = edge(tmp_path, [address])
        envoy = await asyncio.to_thread(running.__enter__)
        try:
            async with envoy.channel() as channel:
                call: Any = channel.unary_unary("/zart.v1.AdminService/Restart")
                await call(b"", metadata=tuple({**sent, **forged, **claimed}.items()), timeout=60)
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)
    (metadata,) = heard
    assert {name: metadata.get(name) for name in sent} == sent
    assert forged.keys().isdisjoint(metadata)
    # What a caller claims is followed by where it came from.
    assert not metadata["x-forwarded-for"].endswith("203.0.113.7")


class _Listening(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with what was asked for."""
        length = int(self.headers.get("content-length", 0))
        said = {"path": self.path, "body": self.rfile.read(length).decode(), **self.headers}
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the library's name

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@pytest.fixture
def gateway() -> Iterator[str]:
    """Run an HTTP server in a gateway's place, which tells what it was sent."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Listening) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_json_goes_to_the_gateway_with_its_path_untouched(
    zart_server: ServerUnderTest, gateway: str, tmp_path: Path
) -> None:
    with (
        edge(tmp_path, [zart_server.address], gateways=[gateway]) as envoy,
        contextlib.closing(envoy.https()) as connection,
    ):
        envoy.until_healthy({int(gateway.rpartition(":")[2])}, "gateways")
        odd = "/admin/v1/executions/a%2Fb%2E%2E%252F;x/../restart?q=%20"
        headers = {"Authorization": "Bearer a.b.c", "Content-Type": "application/json"}
        for method, path in (("POST", odd), ("GET", "/api/v1/executions/x%2Fy/watch")):
            connection.request(method, path, '{"reason": "x"}', headers)
            response = connection.getresponse()
            said = json.loads(response.read())
            assert (response.status, said["path"]) == (200, path)
            assert said["body"] == '{"reason": "x"}'
            assert said["authorization"] == "Bearer a.b.c"
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        response.read()
        assert response.status == 404


async def test_a_run_of_the_whole_chain_through_it(envoy: Edge, rig: Rig) -> None:
    async with zart.Client(envoy.channel()) as client:
        through = Rig(client, rig.db)
        await through.start("x", CHAIN)
        waiting = asyncio.create_task(client.handle("x").result())
        polling = asyncio.create_task(client.lease_tasks("d", ["t"], wait=30))
        await through.complete(*await polling)
        await through.work()
        assert await waiting == "c"


async def test_servers_elsewhere_are_reached_with_tls_and_know_the_caller_by_its_token(
    zart_database: str, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.issue("server", "zart", x509.DNSName("zart-server"))
    tokens = TokenFile(tmp_path / "tokens")
    token = tokens.add("alice", "starter", "operator")
    with (
        serving(
            zart_database, tls_cert=certificate, tls_key=key, auth_tokens=tokens.path
        ) as server,
        edge(tmp_path, [server.address], authority=authority) as envoy,
    ):
        async with zart.Client(envoy.channel(token)) as alice:
            await alice.start("t", execution_id="x", steps=specs(CHAIN))
            restarted = await alice.restart("x", triggered_by="somebody")
            assert (restarted.run.principal, restarted.run.triggered_by) == ("alice", "somebody")
        async with zart.Client(envoy.channel()) as nobody:
            with pytest.raises(errors.MissingCredentials):
                await nobody.restart("x")


def test_envoy_calls_no_server_that_is_not_the_one_it_is_told_of(
    zart_database: str, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.issue("server", "zart", x509.DNSName("another-server"))
    with (
        serving(zart_database, tls_cert=certificate, tls_key=key) as server,
        edge(tmp_path, [server.address], authority=authority, is_healthy=False) as envoy,
    ):

        async def ask() -> None:
            async with zart.Client(envoy.bare_channel()) as client:
                await client.list_executions()

        with pytest.raises(zart.Unreachable):
            asyncio.run(ask())
        assert envoy.counter("cluster.servers.ssl.fail_verify_san") > 0
