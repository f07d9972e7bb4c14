"""A gateway to a server, and a client of it that sends just what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from waiting import GIVE_UP

from zart.gateway.server import running
from zart.gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.text)

    @property
    def fields(self) -> dict[str, str]:
        """What is wrong with which field, as BadRequest says."""
        found = [d for d in self.json["details"] if d["@type"].endswith("google.rpc.BadRequest")]
        return {v["field"]: v["description"] for v in found[0]["fieldViolations"]}

    @property
    def reason(self) -> str:
        """The reason, as ErrorInfo says."""
        found = [d for d in self.json["details"] if d["@type"].endswith("google.rpc.ErrorInfo")]
        assert found[0]["domain"] == "zart"
        reason: str = found[0]["reason"]
        return reason


@dataclass(frozen=True, slots=True)
class Http:
    """Sends requests to a gateway."""

    address: str

    def send(
        self, method: str, path: str, body: Any = None, headers: Any = (), **extra: str
    ) -> Answer:
        """Send bytes as they are."""
        connection = http.client.HTTPConnection(self.address, timeout=GIVE_UP)
        try:
            connection.request(method, path, body, {**dict(headers), **extra})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode())
        finally:
            connection.close()

    def post(
        self, path: str, message: Any = None, *, method: str = "POST", **headers: str
    ) -> Answer:
        """Send JSON."""
        text = message if isinstance(message, str) else json.dumps(message or {})
        return self.send(
            method, path, text.encode(), {"Content-Type": "application/json", **headers}
        )

    def get(self, path: str, **headers: str) -> Answer:
        """Ask."""
        return self.send("GET", path, None, headers)


@contextlib.contextmanager
def gateway_to(address: str, **settings: Any) -> Iterator[Http]:
    """Run a gateway in a thread of its own until the context is left."""
    started = threading.Event()
    found: list[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        chosen = Settings(**{"listen": "127.0.0.1:0", "address": address, **settings})
        async with running(chosen) as listening:
            found.append((listening, asyncio.get_running_loop(), stop))
            started.set()
            await stop.wait()

    def thread() -> None:
        try:
            asyncio.run(serve())
        finally:
            started.set()

    running_thread = threading.Thread(target=thread, name="zart-gateway")
    running_thread.start()
    started.wait()
    listening, loop, stop = found[0]
    try:
        yield Http(listening)
    finally:
        loop.call_soon_threadsafe(stop.set)
        running_thread.join()
