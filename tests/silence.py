"""A TCP proxy that loses connections without a word, as a network does whose other end is gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from urllib.parse import urlsplit


class Silence:
    """Stands in front of a database: ``async with Silence(url) as silence``; ``url`` leads there.

    What is sent over a connection that has fallen silent is taken and lost, both ways; neither end
    is told. New ones pass everything on. ``choked`` is set once ``choke`` has cut a message off.
    """

    def __init__(self, database_url: str) -> None:
        self._target = urlsplit(database_url)
        self._database_url = database_url
        self._open: set[asyncio.Event] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._left: int | None = None  # bytes that are still passed to the database
        self.choked = asyncio.Event()
        self.url = ""

    async def __aenter__(self) -> Silence:
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = self._listener.sockets[0].getsockname()[1]
        self.url = self._database_url.replace(f":{self._target.port}/", f":{port}/")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._listener.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def fall(self) -> int:
        """Lose all connections that there are; gives how many."""
        lost, self._open = self._open, set()
        for passing in lost:
            passing.clear()
        return len(lost)

    def choke(self, after: int) -> None:
        """Pass so many more bytes to the database, then lose the connection that sends the next."""
        self._left = after

    def _taken(self, data: bytes, passing: asyncio.Event) -> bytes:
        """Return what of it is passed to the database."""
        if self._left is None or not passing.is_set():
            return data
        part = data[: self._left]
        self._left -= len(part)
        if len(part) < len(data):
            self._left = None
            self._open.discard(passing)
            passing.clear()
            self.choked.set()
        return part

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(
            self._target.hostname, self._target.port
        )
        passing = asyncio.Event()
        passing.set()
        self._open.add(passing)
        self._writers |= {writer, to_writer}
        pumps = [
            _pump(reader, to_writer, passing, self._taken),
            _pump(to_reader, writer, passing),
        ]
        self._tasks |= {asyncio.create_task(pump) for pump in pumps}


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    passing: asyncio.Event,
    taken: Callable[[bytes, asyncio.Event], bytes] = lambda data, _: data,
) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            if passing.is_set():
                writer.write(taken(data, passing))
    if passing.is_set():  # else nobody hears of the end either
        writer.close()
