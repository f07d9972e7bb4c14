"""Asks gRPC's health service over a connection that is there: gRPC itself makes its own only.

It is one call by HTTP/2 (RFC 9113), and no more of that than the call needs: a library for it would
be in every install.
"""

from __future__ import annotations

import socket

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

_OPENING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS = 0, 1, 3, 4
_END_STREAM, _END_HEADERS = 1, 4  # flags
_CALL = 1  # its stream
_HEAD = 9  # bytes before what is in a frame
_SHORT = 0x7F  # bytes: the length of a text that is shorter is one byte


def says_serving(connection: socket.socket, host: str) -> bool:
    """Ask whether the process as a whole is SERVING; ``host`` is what it is called by.

    Raises OSError where the connection ends, or the call is cut off, before it has answered.
    """
    asked = _message(HealthCheckRequest().SerializeToString())
    connection.sendall(
        _OPENING
        + _frame(_SETTINGS, 0, b"", stream=0)
        + _frame(_HEADERS, _END_HEADERS, _heads(host))
        + _frame(_DATA, _END_STREAM, asked)
    )
    serving = HealthCheckResponse(status=HealthCheckResponse.SERVING)
    return _answered(connection) == _message(serving.SerializeToString())


def _heads(host: str) -> bytes:
    """Return the heads of the call by HPACK (RFC 7541): known ones by number, texts as they are."""
    return b"".join(
        (
            b"\x83\x87",  # :method POST, :scheme https
            b"\x04" + _text("/grpc.health.v1.Health/Check"),  # :path
            b"\x01" + _text(host),  # :authority
            b"\x0f\x10" + _text("application/grpc"),  # content-type
            b"\x00" + _text("te") + _text("trailers"),
        )
    )


def _text(text: str) -> bytes:
    """Return a text of up to 254 bytes, as no name of a host is longer, behind its length."""
    raw = text.encode()
    return bytes([len(raw)] if len(raw) < _SHORT else [_SHORT, len(raw) - _SHORT]) + raw


def _message(encoded: bytes) -> bytes:
    return b"\0" + len(encoded).to_bytes(4, "big") + encoded  # 0: not compressed


def _frame(kind: int, flags: int, payload: bytes, stream: int = _CALL) -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


def _answered(connection: socket.socket) -> bytes:
    """Read the answer to the end; gives what is in it beside heads: nothing if it is an error."""
    found = b""
    with connection.makefile("rb") as frames:
        while len(head := frames.read(_HEAD)) == _HEAD:
            payload = frames.read(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            if stream != _CALL:
                continue
            if kind == _RST_STREAM:
                break
            if kind == _DATA:
                found += payload
            if flags & _END_STREAM:
                return found
    raise ConnectionResetError("the connection was closed without an answer")
