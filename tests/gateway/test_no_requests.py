"""What is no request of HTTP/1.1 is told so as all else is: by a status, in JSON."""

from __future__ import annotations

import json
import socket

import pytest
from gateway.sending import Http
from google.rpc import code_pb2
from waiting import GIVE_UP

WHOLE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = b"Host: localhost\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n"
LONG = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
NONE = {
    "a path as it is typed": "GET /api/v1/executions/café HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
    "a head of more than 16 KiB": LONG + b"X: " + b"x" * 16 * 1024,
    "a whole one of more than 16 KiB": LONG + b"X: " + b"x" * 16 * 1024 + b"\r\n\r\n",
    "one of many headers": LONG
    + b"".join(b"x%d: %030d\r\n" % (n, n) for n in range(500))
    + b"\r\n",
    "one with a long path": b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 16 * 1024),
    "one with a long query": b"GET /?%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 16 * 1024),
    "the hello of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "another after a whole one": WHOLE + b"what else\r\n\r\n",
    "a chunk without a size": b"POST /admin/v1/resume HTTP/1.1\r\n" + CHUNKED,
    "one of what reads no body": b"GET /healthz HTTP/1.1\r\n" + CHUNKED,
}


def answers(http_: Http, sent: bytes) -> bytes:
    """Send bytes; gives all that comes back until the connection is closed."""
    host, _, port = http_.address.rpartition(":")
    found = b""
    with socket.create_connection((host, int(port)), timeout=GIVE_UP) as sending:
        sending.sendall(sent)
        while part := sending.recv(65536):
            found += part
    return found


@pytest.mark.parametrize("name", NONE)
def test_it_is_a_400_that_says_what_may_be_wrong(
    shared_http: Http, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    *before, head, body = answers(shared_http, NONE[name]).split(b"\r\n\r\n")

    assert len(before) == (1 if name == "another after a whole one" else 0)
    assert b"HTTP/1.1 400 " in head
    assert b"content-type: application/json" in head.lower()
    assert json.loads(body)["code"] == code_pb2.INVALID_ARGUMENT
    assert "percent-encoded" in json.loads(body)["message"]
    assert "Exception in ASGI" not in caplog.text


def test_a_head_alone_is_answered_by_one(shared_http: Http) -> None:
    head, _, body = answers(shared_http, b"HEAD /healthz HTTP/1.1\r\n" + CHUNKED).partition(
        b"\r\n\r\n"
    )

    assert head.startswith(b"HTTP/1.1 400 ")
    assert body == b""
