"""gRPC-Web as a browser speaks it: HTTP/1.1, frames in the body, the trailers as a last frame."""

from __future__ import annotations

import base64
import http.client
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message
from google.rpc import status_pb2

T = TypeVar("T", bound=Message)
_TRAILERS = 0x80
ORIGIN = "https://console.example.com"


@dataclass
class Answer(Generic[T]):
    """What a call is answered with, message by message; ``ending`` is known after the last."""

    response: http.client.HTTPResponse
    kind: type[T]
    is_text: bool
    ending: dict[str, str]
    ended_by_frame: bool = False
    _decoded: bytes = b""

    def __iter__(self) -> Iterator[T]:
        while head := self._take(5):
            flag, size = struct.unpack(">BI", head)
            body = self._take(size)
            if flag & _TRAILERS:
                lines = body.decode().split("\r\n")
                pairs = (line.split(":", 1) for line in lines if line)
                self.ending.update((name.lower(), value.strip()) for name, value in pairs)
                self.ended_by_frame = True
            else:
                yield self.kind.FromString(body)

    def status(self) -> status_pb2.Status:
        """Return the details of an error."""
        text = self.ending["grpc-status-details-bin"]
        return status_pb2.Status.FromString(base64.b64decode(text + "=" * (-len(text) % 4)))

    def _take(self, size: int) -> bytes:
        """Read so many bytes, or what there is at the end."""
        if not self.is_text:
            return self.response.read(size)
        while len(self._decoded) < size and (group := self.response.read(4)):
            self._decoded += base64.b64decode(group)
        taken, self._decoded = self._decoded[:size], self._decoded[size:]
        return taken


def call(
    connection: http.client.HTTPSConnection,
    method: str,
    request: Message,
    kind: type[T],
    *,
    is_text: bool = False,
) -> Answer[T]:
    """Call ``package.Service/Method`` from a page of ORIGIN."""
    message = request.SerializeToString()
    body = struct.pack(">BI", 0, len(message)) + message
    content_type = f"application/grpc-web{'-text' if is_text else ''}+proto"
    connection.request(
        "POST",
        f"/{method}",
        base64.b64encode(body) if is_text else body,
        {
            "Content-Type": content_type,
            "Accept": content_type,
            "X-Grpc-Web": "1",
            "Origin": ORIGIN,
        },
    )
    response = connection.getresponse()
    assert response.status == 200
    assert response.headers["content-type"].startswith(content_type)
    ending = {k.lower(): v for k, v in response.headers.items() if k.lower().startswith("grpc-")}
    return Answer(response, kind, is_text, ending)
