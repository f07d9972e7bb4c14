"""A caller that speaks HTTP/2 by hand: it announces large messages and sends the first of each only."""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from types import TracebackType

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _WINDOW = 0, 1, 3, 4, 6, 8
_ACKNOWLEDGES, _ENDS_HEADERS = 1, 4
_OPENING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class HalfCalls:
    """Calls of one connection. ``windows`` has what the server lets each send more of its message."""

    def __init__(self, address: str) -> None:
        self._host, _, self._port = address.rpartition(":")
        self._last = -1
        self.windows: Counter[int] = Counter()
        self.ended: set[int] = set()

    async def __aenter__(self) -> HalfCalls:
        self._reader, self._writer = await asyncio.open_connection(self._host, int(self._port))
        self._writer.write(_OPENING + _frame(_SETTINGS, 0, 0))
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._reading.cancel()
        self._writer.close()
        await asyncio.gather(self._reading, return_exceptions=True)

    @property
    def is_over(self) -> bool:
        """Whether the server has ended the connection."""
        return self._reading.done()

    def begin(self, method: str, size: int, token: str = "") -> int:
        """Begin a call whose message is announced as of so many bytes; gives its stream."""
        self._last += 2
        fields = [
            (":method", "POST"), (":scheme", "http"), (":path", method),
            (":authority", "localhost"), ("te", "trailers"), ("content-type", "application/grpc"),
        ]  # fmt: skip
        if token:
            fields.append(("authorization", f"Bearer {token}"))
        head = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)
        self._writer.write(
            _frame(_HEADERS, _ENDS_HEADERS, self._last, head)
            + _frame(_DATA, 0, self._last, b"\0" + struct.pack(">I", size) + b"x"[:size])
        )
        return self._last

    async def _read(self) -> None:
        while True:
            head = await self._reader.readexactly(9)
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:]) & 0x7FFFFFFF
            body = await self._reader.readexactly(int.from_bytes(head[:3]))
            if kind == _SETTINGS and not flags & _ACKNOWLEDGES:
                self._writer.write(_frame(_SETTINGS, _ACKNOWLEDGES, 0))
            elif kind == _PING and not flags & _ACKNOWLEDGES:
                self._writer.write(_frame(_PING, _ACKNOWLEDGES, 0, body))
            elif kind == _WINDOW and stream:
                self.windows[stream] += int.from_bytes(body)
            elif kind == _RESET or (kind == _HEADERS and flags & 1):
                self.ended.add(stream)


def _frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return len(body).to_bytes(3) + bytes([kind, flags]) + struct.pack(">I", stream) + body


def _text(value: str) -> bytes:
    return bytes([len(value)]) + value.encode()  # shorter than 127
