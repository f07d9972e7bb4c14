"""A TCP proxy that loses what a server answers, or is slow, as a network is at the worst moment."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from types import TracebackType


class Cutter:
    """Stands in front of one server: ``async with Cutter(server.address) as cutter``.

    It passes everything on until it is told otherwise, each byte after ``delay`` seconds. It
    listens on ``address``, and counts the ``connections`` that were made.
    """

    def __init__(self, server: str, delay: float = 0.0) -> None:
        host, _, port = server.rpartition(":")
        self._server = host, int(port)
        self._delay = delay
        self._passing = asyncio.Event()
        self._passing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.connections = 0
        self.address = ""

    async def __aenter__(self) -> Cutter:
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.refuse()
        await self._listener.wait_closed()

    def withhold(self) -> None:
        """Pass on what callers send, and nothing of what the server answers."""
        self._passing.clear()

    def cut(self) -> None:
        """Reset all connections; what was withheld is lost. New ones pass everything on."""
        for writer in self._writers:
            if not writer.transport.is_closing():  # by its caller, who noticed
                connection = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self._passing.set()

    def refuse(self) -> None:
        """Reset all connections and refuse new ones, as the machine of a dead server does."""
        self._listener.close()
        self.cut()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._server)
        except ConnectionError:  # it is restarted, perhaps
            writer.transport.abort()
            return
        both = {writer, server_writer}
        self._writers |= both
        try:
            await asyncio.gather(
                self._pass(reader, server_writer),
                self._pass(server_reader, writer, self._passing),
            )
        finally:
            self._writers -= both
            for one in both:
                one.transport.abort()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passing: asyncio.Event | None = None,
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if passing is not None:
                    await passing.wait()
                if self._delay:
                    asyncio.get_running_loop().call_later(self._delay, writer.write, data)
                    continue
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
