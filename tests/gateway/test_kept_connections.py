"""A connection is kept for the next request: longer than load balancers keep theirs."""

from __future__ import annotations

import http.client
import socket

import pytest
from gateway.sending import Http, gateway_to
from waiting import GIVE_UP

from zart.gateway.waiting import KEPT_FOR, Waiting

HALF = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
BEFORE = 5.5  # seconds: uvicorn by itself would keep one for 5


def connect(http_: Http) -> socket.socket:
    host, _, port = http_.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=GIVE_UP)


def ask(sending: socket.socket, request: bytes = HALF + b"\r\n") -> None:
    """Have a request answered, or the rest of one."""
    sending.sendall(request)
    answer = http.client.HTTPResponse(sending)
    answer.begin()
    assert (answer.status, answer.read()) == (200, b'{"status":"SERVING"}')


def test_it_is_kept_for_longer_than_half_a_request_but_no_half_is() -> None:
    assert KEPT_FOR > 60  # as load balancers have it
    with (
        gateway_to("127.0.0.1:1", patience=BEFORE) as http_,
        connect(http_) as kept,
        connect(http_) as late,
    ):
        ask(kept)
        ask(late)
        late.sendall(HALF)
        assert late.recv(12) == b"HTTP/1.1 408"
        ask(kept)


def test_it_is_closed_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zart.gateway.server.KEPT_FOR", 0.3)
    with gateway_to("127.0.0.1:1") as http_, connect(http_) as kept:
        ask(kept)
        assert kept.recv(1) == b""


def test_it_is_the_first_to_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zart.gateway.server._WAITING", 4)
    with (
        gateway_to("127.0.0.1:1") as http_,
        connect(http_) as half,
        connect(http_) as kept,
        connect(http_) as kept_for_less_long,
    ):
        half.sendall(HALF)
        ask(kept)
        ask(kept_for_less_long)
        with connect(http_) as another, connect(http_) as one_too_many:
            assert kept.recv(1) == b""
            for each in (another, one_too_many, kept_for_less_long):
                ask(each)
            ask(half, b"\r\n")


def test_it_is_closed_at_last_though_a_body_came_after_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zart.gateway.server.KEPT_FOR", 0.3)
    with gateway_to("127.0.0.1:1") as http_, connect(http_) as kept:
        kept.sendall(b"PUT /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n")
        answer = http.client.HTTPResponse(kept)
        answer.begin()
        assert (answer.status, bool(answer.read())) == (405, True)
        kept.sendall(b"x")
        assert kept.recv(1) == b""


class Kept:
    """A connection of an address elsewhere."""

    address = "192.0.2.1"

    def __init__(self) -> None:
        self.is_open = True

    def give_up(self, *, is_late: bool) -> None:
        assert not is_late
        self.is_open = False


async def test_an_address_keeps_no_more_than_may_wait_of_it() -> None:
    waiting = Waiting(10, 8, 2, KEPT_FOR)
    first, second, half = Kept(), Kept(), Kept()
    waiting.begin(half)
    waiting.keep(first)
    waiting.keep(second)
    assert (half.is_open, first.is_open, second.is_open) == (True, False, True)
    for each in (half, first, second):
        waiting.end(each)
    assert (waiting._count, dict(waiting._waiting)) == (0, {})
