"""Who sends half a request, or reads nothing of an answer, is in nobody's way, and not for long."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
from collections.abc import Iterator

import pytest
from gateway.sending import Http, gateway_to
from waiting import block_until

from zart.gateway.shares import Shares
from zart.gateway.statuses import Refusal
from zart.gateway.waiting import address_of
from zart.testing.server import ServerUnderTest

HEAD = b"POST /api/v1/executions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HALVES = {
    "a head": HEAD,
    "a body": HEAD + b'Content-Length: 100\r\n\r\n{"taskName":',
    "a body in chunks": HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"tas\r\n',
    "a body that nobody wants": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
    "nothing": b"",
}
MANY = 1_100  # more than may wait, and more than twice the calls that may be under way


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for the sockets of both sides."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4 * MANY), hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(http_: Http) -> socket.socket:
    host, _, port = http_.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=30)


@pytest.mark.parametrize("half", ["a head", "a body"])
def test_many_halves_leave_room_for_whole_requests(
    zart_server: ServerUnderTest, many_files: None, half: str
) -> None:
    with gateway_to(zart_server.address) as http_, contextlib.ExitStack() as held:
        for _ in range(MANY):
            held.enter_context(connect(http_)).sendall(HALVES[half])

        begun = http_.post("/api/v1/executions", {"taskName": "t", "steps": [{"stepName": "a"}]})
        listed = http_.get("/api/v1/executions")

    assert (begun.status, listed.status) == (200, 200)
    assert len(listed.json["executions"]) == 1


@pytest.mark.parametrize("half", HALVES)
def test_a_half_is_given_up(zart_server: ServerUnderTest, half: str) -> None:
    with gateway_to(zart_server.address, patience=0.2) as http_, connect(http_) as sending:
        sending.sendall(HALVES[half])
        answer = b""
        while part := sending.recv(65536):  # until it is closed
            answer += part

    head, _, body = answer.partition(b"\r\n\r\n")
    if half == "nothing":
        assert answer == b""
    elif half == "a body that nobody wants":
        assert json.loads(body)["status"] == "SERVING"
    else:
        assert head.startswith(b"HTTP/1.1 408 ")
        assert json.loads(body)["code"] == 4


def test_a_body_may_take_as_long_as_it_has_bytes_for(zart_server: ServerUnderTest) -> None:
    """A second is worth 64 KiB: who has sent 500,000 bytes outlasts who began later, with none."""
    text = b'{"taskName": "t", "steps": [{"stepName": "a"}], "reason": "' + b" " * 500_000
    with (
        gateway_to(zart_server.address, patience=0.2) as http_,
        connect(http_) as sending,
        connect(http_) as idling,
    ):
        sending.sendall(HEAD + b"Connection: close\r\nContent-Length: 600000\r\n\r\n" + text)
        idling.sendall(HALVES["a body"])
        assert idling.recv(12) == b"HTTP/1.1 408"
        sending.sendall(b" " * (600_000 - len(text) - 2) + b'"}')
        assert sending.recv(12) == b"HTTP/1.1 400"  # the reason is too long


def test_who_reads_nothing_is_given_up(zart_server: ServerUnderTest) -> None:
    with gateway_to(zart_server.address, patience=0.2, max_calls=1) as http_:
        steps = [{"stepName": f"step-{n}-{'x' * 200}"} for n in range(5_000)]
        execution = {"taskName": "t", "executionId": "x", "steps": steps}
        assert http_.post("/api/v1/executions", execution).status == 200
        with connect(http_) as reading:
            reading.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            for _ in range(8):  # more than the sockets' buffers hold
                reading.sendall(b"GET /api/v1/executions/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            block_until(lambda: http_.get("/api/v1/executions/x").status == 503)  # it has begun
            block_until(lambda: http_.get("/api/v1/executions/x").status == 200)


def test_one_address_has_half_of_what_there_is() -> None:
    shares = Shares(4)
    for _ in range(2):
        shares.take("192.0.2.1")
    with pytest.raises(Refusal):
        shares.take("192.0.2.1")
    shares.take("192.0.2.2")
    shares.take("127.0.0.1")
    with pytest.raises(Refusal):
        shares.take("127.0.0.1")
    shares.give_back("192.0.2.1", 2)
    shares.take("127.0.0.1", 2)  # a proxy of this machine's may have all


def test_of_ipv6_a_network_is_one_address() -> None:
    assert address_of("2001:db8::1") == address_of("2001:db8::ffff:1")
    assert address_of("2001:db8::1") != address_of("2001:db8:0:1::1")
    assert address_of("192.0.2.1") != address_of("192.0.2.2")
    assert address_of("::1") == "::1"
