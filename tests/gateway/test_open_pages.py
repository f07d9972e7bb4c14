"""What anybody may ask a gateway takes little of it and of its server, whoever asks how often."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import pytest
from gateway.scripted import Scripted
from gateway.sending import Http
from grpc_health.v1 import health_pb2
from starlette.types import ASGIApp, Message
from waiting import until

from zart.gateway import open_pages
from zart.gateway.app import application
from zart.gateway.calls import Calls
from zart.gateway.settings import Settings

SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
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
