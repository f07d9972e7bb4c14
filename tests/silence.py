"""A TCP proxy that loses connections without a word, as a network does whose other end is gone."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from urllib.parse import urlsplit


class Silence:
    """Stands in front of a database: ``async with Silence(url) as silence``; ``url`` leads there.

    What is sent over a connection that has fallen silent is taken and lost, both ways; neither end
    is told. New ones pass everything on.
    """

    def __init__(self, database_url: str) -> None:
        self._target = urlsplit(database_url)
        self._database_url = database_url
        self._open: set[asyncio.Event] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
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

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection(
            self._target.hostname, self._target.port
        )
        passing = asyncio.Event()
        passing.set()
        self._open.add(passing)
        self._writers |= {writer, to_writer}
        pumps = [(reader, to_writer), (to_reader, writer)]
        self._tasks |= {asyncio.create_task(_pump(*pump, passing)) for pump in pumps}


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: asyncio.Event
) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            if passing.is_set():
                writer.write(data)
    if passing.is_set():  # else nobody hears of the end either
        writer.close()
