"""How far a caller has come with what was sent to it, whatever buffers are between.

A transport of TLS tells what it holds itself, which stays the same while the socket below it sends
on: so the kernel is asked, where it tells.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
from typing import Any

_INFO = getattr(socket, "TCP_INFO", None)
_ACKNOWLEDGED = 120  # where Linux's struct tcp_info has tcpi_bytes_acked, 64 bits of it
_END = _ACKNOWLEDGED + 8


def is_all_taken(transport: asyncio.WriteTransport) -> bool:
    """Return whether the caller's end has acknowledged all there was to send."""
    if transport.get_write_buffer_size():
        return False
    found: Any = transport.get_extra_info("socket")
    if found is None or _INFO is None:
        return True
    (left,) = struct.unpack("i", fcntl.ioctl(found.fileno(), termios.TIOCOUTQ, bytes(4)))
    return not left


def taken(transport: asyncio.WriteTransport) -> int:
    """Return a number that grows with what the caller's end has acknowledged."""
    found: Any = transport.get_extra_info("socket")
    if found is not None and _INFO is not None:
        info = found.getsockopt(socket.IPPROTO_TCP, _INFO, _END)
        if len(info) == _END:
            acknowledged: int = struct.unpack_from("Q", info, _ACKNOWLEDGED)[0]
            return acknowledged
    return -transport.get_write_buffer_size()
