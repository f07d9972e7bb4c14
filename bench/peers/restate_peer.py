"""Restate: its server, a service in Python, and a client that costs next to nothing.

Granian carries the service three times as fast as Hypercorn, and 4 partitions do more on two
cores than the default of 24. Its durability is as it comes. The clients speak HTTP/1.1 on kept
connections, with no library between them and the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop
from measured import arguments, say

PARTITIONS = 4
OPEN_REQUESTS = 256
CALL = "/Bench/noop3"


class Client:
    """One connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, port: int) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, path: str, body: bytes = b"1", method: str = "POST") -> bytes:
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n"
        if body:
            head += "Content-Type: application/json\r\n"
        self.writer.write(head.encode() + b"\r\n" + body)
        answer = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        size = answer.partition(b"content-length:")[2].partition(b"\r\n")[0]
        content = await self.reader.readexactly(int(size)) if size else b""
        if not answer.startswith(b"http/1.1 2"):
            raise SystemExit((answer + content).decode(errors="replace"))
        return content


@contextlib.asynccontextmanager
async def running(binary: str) -> AsyncIterator[tuple[int, int]]:
    """Run server and service; gives the ports of its ingress and its admin API."""
    ingress, admin, node, service = (free_port() for _ in range(4))
    with (
        tempfile.TemporaryDirectory(prefix="bench-restate-") as folder,
        (Path(folder) / "log").open("wb") as log,
    ):
        environment = {
            **os.environ,
            "RESTATE_BASE_DIR": folder,
            "RESTATE_BIND_IP": "127.0.0.1",
            "RESTATE_BIND_PORT": str(node),
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_INGRESS__BIND_PORT": str(ingress),
            "RESTATE_ADMIN__BIND_PORT": str(admin),
            "RESTATE_DEFAULT_NUM_PARTITIONS": str(PARTITIONS),
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_LOG_FILTER": "warn",
        }
        server = [binary, "--no-logo"]
        granian = [
            str(Path(sys.executable).with_name("granian")), "--interface", "asgi", "--http", "2",
            "--workers", "1", "--loop", "uvloop", "--host", "127.0.0.1", "--port", str(service),
            "--log-level", "warning", "restate_service:app",
        ]  # fmt: skip
        processes = [
            subprocess.Popen(server, env=environment, cwd=folder, stdout=log, stderr=log),
            subprocess.Popen(granian, cwd=Path(__file__).parent, stdout=log, stderr=log),
        ]
        try:
            for port in (service, ingress, admin):
                await listening(port)
            at = json.dumps({"uri": f"http://127.0.0.1:{service}"}).encode()
            await (await Client.to(admin)).send("/deployments", at)
            yield ingress, admin
        finally:
            for process in processes:  # granian waits for its connections: the server goes first
                process.kill()
                process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def listening(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            await Client.to(port)
            return
        await asyncio.sleep(0.05)
    raise SystemExit(f"nothing listens on {port}")


async def each(port: int, callers: int, requests: list[tuple[str, bytes, str]]) -> float:
    """Send requests from a number of callers; gives seconds."""
    clients = [await Client.to(port) for _ in range(callers)]
    left = iter(requests)

    async def some(client: Client) -> None:
        for path, body, method in left:
            await client.send(path, body, method)

    begun = time.perf_counter()
    await asyncio.gather(*map(some, clients))
    return time.perf_counter() - begun


async def drain(binary: str, count: int) -> None:
    async with running(binary) as (ingress, _):
        await each(ingress, 16, [(CALL, b"1", "POST")] * 200)
        seconds = await each(ingress, OPEN_REQUESTS, [(CALL, b"1", "POST")] * count)
        say(steps_per_second=count * 3 / seconds)


async def latency(binary: str, count: int) -> None:
    async with running(binary) as (ingress, _):
        client = await Client.to(ingress)
        say(latencies_ms=(await alone(client, [(CALL, b"1", "POST")] * (count + 100)))[100:])


async def start(binary: str, count: int) -> None:
    async with running(binary) as (ingress, _):
        await each(ingress, 16, [(CALL, b"1", "POST")] * 200)
        seconds = await each(ingress, 64, [(f"{CALL}/send", b"1", "POST")] * count)
        say(starts_per_second=count / seconds)


async def restart(binary: str, count: int) -> None:
    async with running(binary) as (ingress, admin):
        client = await Client.to(ingress)
        ids = [json.loads(await client.send(f"{CALL}/send"))["invocationId"] for _ in range(count)]
        for invocation in ids:
            await client.send(f"/restate/invocation/{invocation}/attach", b"", "GET")
        requests = [(f"/invocations/{of}/restart-as-new", b"", "PATCH") for of in ids]
        one_by_one = await alone(await Client.to(admin), requests[: count // 4])
        rest = requests[count // 4 :]
        say(latencies_ms=one_by_one, restarts_per_second=len(rest) / await each(admin, 16, rest))


async def alone(client: Client, requests: list[tuple[str, bytes, str]]) -> list[float]:
    found = []
    for path, body, method in requests:
        begun = time.perf_counter()
        await client.send(path, body, method)
        found.append((time.perf_counter() - begun) * 1000)
    return found


if __name__ == "__main__":
    given = arguments()
    uvloop.run(globals()[given.command](given.binary, given.count))
