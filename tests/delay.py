"""A TCP proxy whose bytes take their time, as over a satellite or through a narrow VPN."""

from __future__ import annotations

import asyncio
from types import TracebackType


class Delay:
    """Stands in front of a server: ``async with Delay(address, 1.0) as way``; ``way.address``.

    Each byte takes so many seconds to the other end. ``connections`` counts those that were made.
    """

    def __init__(self, server: str, seconds: float) -> None:
        self._server = server
        self._seconds = seconds
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.connections = 0
        self.address = ""

    async def __aenter__(self) -> Delay:
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
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

    async def _connected(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        self.connections += 1
        host, _, port = self._server.rpartition(":")
        far, on = await asyncio.open_connection(host, int(port))
        self._writers |= {back, on}
        for reader, writer in ((near, on), (far, back)):
            task = asyncio.create_task(self._pass_on(reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await reader.read(64 * 1024):
                loop.call_later(self._seconds, writer.write, data)
        except ConnectionError:
            pass  # an end as good as any
        loop.call_later(self._seconds, writer.transport.abort)
