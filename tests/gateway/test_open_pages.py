"""What anybody may ask a gateway takes little of it and of its server, whoever asks how often."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import pytest
from gateway.scripted import Scripted
from gateway.sending import Http, gateway_to
from grpc_health.v1 import health_pb2
from starlette.types import ASGIApp, Message
from waiting import for_ever, until

from zart.gateway import open_pages
from zart.gateway.app import application
from zart.gateway.calls import Calls
from zart.gateway.settings import Settings

SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
MANY = 100


async def test_probes_of_one_moment_share_a_look(
    scripted: Scripted, http_scripted: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each made a call for each service."""
    monkeypatch.setattr(open_pages, "_SHARED_FOR", 3600.0)  # the moment of this test
    may_answer = asyncio.Event()

    async def answered() -> Any:
        await may_answer.wait()
        return SERVING

    scripted.answer = lambda _: answered()
    probes = [
        asyncio.create_task(asyncio.to_thread(http_scripted.get, "/readyz")) for _ in range(20)
    ]
    await until(lambda: scripted.requests)
    may_answer.set()
    assert {answer.status for answer in await asyncio.gather(*probes)} == {200}
    assert len(scripted.requests) == len({str(asked) for asked in scripted.requests}) > 1


@contextlib.asynccontextmanager
async def stuck() -> AsyncIterator[Scripted]:
    """A server that takes calls and answers none."""
    found = Scripted(answer=lambda _: for_ever())
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([found])  # type: ignore[list-item]
    found.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield found
    await server.stop(0)


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_those_that_do_not_answer_hide_no_other_that_serves(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Load balancers took all gateways out where some of several servers stood still."""
    monkeypatch.setattr(open_pages, "_SHARED_FOR", 0.0)
    scripted.answer = lambda _: SERVING
    async with contextlib.AsyncExitStack() as stack:
        others = [await stack.enter_async_context(stuck()) for _ in range(number)]
        servers = ",".join(each.address for each in (scripted, *others))
        with gateway_to(f"ipv4:{servers}") as http_:
            looks = 0
            while looks < 5 or not all(other.requests for other in others):
                assert (await asyncio.to_thread(http_.get, "/readyz")).status == 200
                looks += 1


async def test_nor_do_those_of_which_none_is_reached(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a proxy says it of what is behind it: one call's five attempts made it a 503."""
    monkeypatch.setattr(open_pages, "_SHARED_FOR", 0.0)
    asked: Counter[str] = Counter()

    def answer(context: Any) -> Any:
        service = str(scripted.requests[-1])
        asked[service] += 1
        if service == next(iter(asked)) and asked[service] < 60:
            return context.abort(grpc.StatusCode.UNAVAILABLE)
        return SERVING

    scripted.answer = answer
    with gateway_to(scripted.address) as http_:
        assert (await asyncio.to_thread(http_.get, "/readyz")).status == 200


@pytest.mark.parametrize(("answer", "status"), [("not serving", 503), ("none", 504)])
async def test_where_none_serves_that_is_told(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    monkeypatch.setattr(open_pages, "_LOOK_TIMEOUT", 1.5)
    not_serving = health_pb2.HealthCheckResponse(status=NOT_SERVING)
    scripted.answer = lambda _: for_ever() if answer == "none" else not_serving
    with gateway_to(scripted.address) as http_:
        assert (await asyncio.to_thread(http_.get, "/readyz")).status == status


async def test_who_is_slow_is_heard(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again meanwhile, and answers only what it was asked first."""
    monkeypatch.setattr(open_pages, "_PATIENCE", 0.05)
    asked: list[str] = []

    async def answered(service: str) -> Any:
        is_first = service not in asked
        asked.append(service)
        await until(lambda: asked.count(service) > 2)
        return SERVING if is_first else await for_ever()

    scripted.answer = lambda _: answered(str(scripted.requests[-1]))
    with gateway_to(scripted.address) as http_:
        assert (await asyncio.to_thread(http_.get, "/readyz")).status == 200


@dataclass
class Reading:
    """Who asks the gateway for a page, and takes nothing of its body until told."""

    app: ASGIApp
    path: str
    status: int = 0
    text: bytes = b""
    takes: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self) -> None:
        """Ask, and read to the end."""
        await self.app(
            {
                "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http",
                "path": self.path, "raw_path": self.path.encode(), "query_string": b"",
                "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1),
            },
            self.receive,
            self.send,
        )  # fmt: skip

    async def receive(self) -> Message:
        """Send no body."""
        return {"type": "http.request", "body": b""}

    async def send(self, message: Message) -> None:
        """Take a part."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            await self.takes.wait()
            self.text += message["body"]


async def test_who_does_not_read_the_document_is_in_no_probes_way(scripted: Scripted) -> None:
    """As many as liked to could have it, and each had its own of the file."""
    scripted.answer = lambda _: SERVING
    async with grpc.aio.insecure_channel(scripted.address) as channel:
        app = application(channel, Calls(channel, 30.0), Settings())
        readers = [Reading(app, "/openapi.json") for _ in range(MANY)]
        asking = [asyncio.create_task(reader.ask()) for reader in readers]
        await until(lambda: all(reader.status for reader in readers))
        probe = Reading(app, "/readyz")
        probe.takes.set()
        await probe.ask()
        assert probe.status == 200
        for reader in readers:
            reader.takes.set()
        await asyncio.gather(*asking)
        last = Reading(app, "/openapi.json")
        last.takes.set()
        await last.ask()

    statuses = Counter(reader.status for reader in (*readers, last))
    assert statuses.keys() == {200, 503}
    assert 2 <= statuses[200] < MANY
    assert all(reader.text == last.text for reader in readers if reader.status == 200)
    assert json.loads(last.text)["openapi"]
