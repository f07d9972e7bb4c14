"""HTTP/JSON through Envoy: the gateway behind it, its streams, and an answer that is lost."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from acceptance.cutting import Cutter
from acceptance.edge import Edge, edge
from acceptance.grpc_web import ORIGIN
from authority import Authority
from cryptography import x509
from gateway.sending import gateway_to
from rig import CHAIN, Rig, eventually

from zart.credentials import Credentials
from zart.testing.server import ServerUnderTest, serving


@pytest.fixture
def gateway(zart_server: ServerUnderTest) -> Iterator[str]:
    """A gateway to the server; where it listens."""
    with gateway_to(zart_server.address) as http_:
        yield http_.address


@pytest.fixture
def envoy(zart_server: ServerUnderTest, gateway: str, tmp_path: Path) -> Iterator[Edge]:
    """Envoy in front of a server and a gateway."""
    with edge(tmp_path, [zart_server.address], gateways=[gateway]) as running:
        running.until_healthy({int(gateway.rpartition(":")[2])}, "gateways")
        yield running


def post(envoy: Edge, path: str, message: Any, **headers: str) -> tuple[int, Any]:
    """Send JSON; gives the status and what came back."""
    with contextlib.closing(envoy.https()) as connection:
        sent = {"Content-Type": "application/json", **headers}
        connection.request("POST", path, json.dumps(message), sent)
        response = connection.getresponse()
        text = response.read().decode()
        is_json = response.headers["content-type"].startswith("application/json")
        return response.status, json.loads(text) if is_json else text


RESTART = "/admin/v1/executions/a%2Fb/restart"


async def test_json_passes_and_what_is_misspelt_is_refused(envoy: Edge, rig: Rig) -> None:
    await rig.start("a/b")
    status, answer = await asyncio.to_thread(post, envoy, RESTART, {"reason": "x"})
    assert (status, answer["newRunId"]) == (200, "a/b:run:1")
    status, answer = await asyncio.to_thread(post, envoy, RESTART, {"raeson": "x"})
    assert status == 400
    assert "raeson" in json.dumps(answer)
    for page, expected in ((ORIGIN, 200), ("https://elsewhere.example.com", 403)):
        status, _ = await asyncio.to_thread(post, envoy, RESTART, {}, Origin=page)
        assert status == expected


async def test_a_watch_is_streamed_line_by_line(envoy: Edge, rig: Rig) -> None:
    await rig.start("x", {"a": ()})

    def watch() -> Iterator[Any]:
        with contextlib.closing(envoy.https()) as connection:
            connection.request("GET", "/api/v1/executions/x/watch")
            for line in connection.getresponse():
                yield json.loads(line)

    lines = watch()
    first = await asyncio.to_thread(next, lines)
    assert first["run"]["status"] == "RUN_STATUS_SCHEDULED"
    await rig.work()
    rest = await asyncio.to_thread(list, lines)
    assert rest[-1]["run"]["status"] == "RUN_STATUS_COMPLETED"


async def test_an_answer_lost_after_the_commit_is_one_restart(
    zart_server: ServerUnderTest,
    gateway: str,
    db: asyncpg.Connection[asyncpg.Record],
    rig: Rig,
    tmp_path: Path,
) -> None:
    async def runs() -> int:
        count: int = await db.fetchval("SELECT count(*) FROM zart.runs")
        return count

    async def restarted() -> bool:
        return await runs() == 2

    await rig.start("a/b", CHAIN)
    async with Cutter(gateway) as one, Cutter(gateway) as two:
        running = edge(tmp_path, [zart_server.address], gateways=[one.address, two.address])
        envoy = await asyncio.to_thread(running.__enter__)
        try:
            ports = {int(cutter.address.rpartition(":")[2]) for cutter in (one, two)}
            await asyncio.to_thread(envoy.until_healthy, ports, "gateways")
            for cutter in (one, two):
                cutter.withhold()
            keyed = {"Idempotency-Key": "once"}
            posting = asyncio.create_task(asyncio.to_thread(post, envoy, RESTART, {}, **keyed))
            await eventually(restarted)
            for cutter in (one, two):
                cutter.cut()
            # The outcome is unknown, and nothing was sent a second time.
            assert (await posting)[0] == 503
            assert await runs() == 2
            status, answer = await asyncio.to_thread(post, envoy, RESTART, {}, **keyed)
            assert (status, answer["newRunNumber"], answer["replayed"]) == (200, 1, True)
            assert await runs() == 2
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)


@pytest.mark.parametrize(("name", "expected"), [("zart-gateway", 200), ("another-gateway", 503)])
def test_gateways_elsewhere_are_reached_with_tls_if_they_are_who_envoy_is_told_of(
    zart_database: str, tmp_path: Path, name: str, expected: int
) -> None:
    authority = Authority(tmp_path / "authority")
    itself = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))  # as the gateway calls the server
    names = (x509.DNSName("zart-server"), x509.DNSName(name), itself)
    certificate, key = authority.issue("both", "zart", *names)
    shown: dict[str, Any] = {"tls_cert": certificate, "tls_key": key}
    with (
        serving(zart_database, **shown) as server,
        gateway_to(server.address, credentials=Credentials(ca=authority.ca), **shown) as http_,
        edge(
            tmp_path, [server.address], gateways=[http_.address], authority=authority, https=True
        ) as envoy,
    ):
        if expected == 200:
            envoy.until_healthy({int(http_.address.rpartition(":")[2])}, "gateways")
        status, _ = post(envoy, "/admin/v1/pause", {"taskName": "t", "reason": "x"})

        assert status == expected
        is_refused = envoy.counter("cluster.gateways.ssl.fail_verify_san") > 0
        assert is_refused == (expected == 503)
