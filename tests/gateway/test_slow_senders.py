"""Who sends half a request, or reads nothing of an answer, is in nobody's way, and not for long."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import resource
import socket
import ssl
import struct
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from gateway.sending import Http, gateway_to
from rig import specs
from waiting import GIVE_UP, block_until

import zart
from zart.gateway.progress import taken
from zart.gateway.shares import Shares
from zart.gateway.statuses import Refusal
from zart.networks import network_of
from zart.testing.server import ServerUnderTest

HEAD = b"POST /api/v1/executions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HALVES = {
    "a head": HEAD,
    "a body": HEAD + b'Content-Length: 100\r\n\r\n{"taskName":',
    "a body in chunks": HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"tas\r\n',
    "a body that nobody wants": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
    "nothing": b"",
}
LongAnswers = Callable[..., contextlib.AbstractContextManager["Reading"]]
ASK = b"GET /api/v1/executions/x HTTP/1.1\r\nHost: localhost\r\n\r\n"
LONG = 1_000_000  # characters of a payload
STEP = 64 * 1024
LOOKS = 6
OFTEN = 0.2  # seconds between two looks
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
    return socket.create_connection((host, int(port)), timeout=GIVE_UP)


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
    with gateway_to(zart_server.address, patience=1.0) as http_, connect(http_) as sending:
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
        gateway_to(zart_server.address, patience=1.0) as http_,
        connect(http_) as sending,
        connect(http_) as idling,
    ):
        sending.sendall(HEAD + b"Connection: close\r\nContent-Length: 600000\r\n\r\n" + text)
        idling.sendall(HALVES["a body"])
        assert idling.recv(12) == b"HTTP/1.1 408"
        sending.sendall(b" " * (600_000 - len(text) - 2) + b'"}')
        assert sending.recv(12) == b"HTTP/1.1 400"  # the reason is too long


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Who signs the gateway's certificate."""
    return Authority(tmp_path / "ca")


@pytest.fixture(params=["http", "https"])
def long_answers(
    request: pytest.FixtureRequest, zart_server: ServerUnderTest, authority: Authority
) -> LongAnswers:
    """Ask for so many answers of a megabyte each, in a row, and read none of them yet."""

    @contextlib.contextmanager
    def ask(count: int, patience: float) -> Iterator[Reading]:
        settings: dict[str, Any] = {"patience": patience}
        if request.param == "https":
            settings["tls_cert"], settings["tls_key"] = authority.issue("gateway", "localhost")
        with zart.connect_sync(zart_server.address) as client:
            client.start("t", "x" * LONG, execution_id="x", steps=specs({"a": ()}))
        with gateway_to(zart_server.address, **settings) as http_, socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            raw.settimeout(GIVE_UP)
            host, _, port = http_.address.rpartition(":")
            raw.connect((host, int(port)))
            context = ssl.create_default_context(cafile=str(authority.ca))
            is_tls = request.param == "https"
            with (
                context.wrap_socket(raw, server_hostname="localhost") if is_tls else raw as sending
            ):
                for _ in range(count):
                    sending.sendall(ASK)
                yield Reading(sending)

    return ask


class Reading:
    """Who reads answers."""

    def __init__(self, sending: socket.socket) -> None:
        self.sending = sending
        self.bytes = 0

    def read(self, at_most: int) -> bool:
        """Read a little; gives False at the end."""
        part = self.sending.recv(at_most)
        self.bytes += len(part)
        return bool(part)

    def is_cut(self) -> bool:
        """Ask for one more; gives whether nobody is there any more. Nothing is read."""
        try:
            self.sending.sendall(ASK)
        except OSError:
            return True
        return False


def test_who_reads_nothing_is_given_up(long_answers: LongAnswers) -> None:
    with long_answers(8, patience=2.0) as reading:
        block_until(reading.is_cut)


class Looks:
    """The gateway's looks at how far a caller has come: each waits until the caller has gone on.

    That is by ``STEP`` bytes, more than its end takes in without reading, or by all that has left
    the gateway. ``wanted``: bytes that it is to have read by the next look.
    """

    def __init__(self) -> None:
        self.count = 0
        self.wanted = STEP
        self.reading: Reading | None = None

    def taken(self, transport: asyncio.Transport) -> int:
        connection: Any = transport.get_protocol()
        connection._waiting.patience = OFTEN  # from now on: the request had longer to come
        block_until(lambda: self._has_gone_on(transport))
        assert self.reading is not None
        found = taken(transport)
        self.count, self.wanted = self.count + 1, self.reading.bytes + STEP
        return found

    def _has_gone_on(self, transport: asyncio.Transport) -> bool:
        if self.reading is None:
            return False
        raw = transport.get_extra_info("socket")
        (on_its_way,) = struct.unpack("i", fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(4)))
        return self.reading.bytes >= self.wanted or not on_its_way


def test_who_reads_slowly_is_served_to_the_end(
    long_answers: LongAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway looks many times, and each time something was read since."""
    looks = Looks()
    monkeypatch.setattr("zart.gateway.connection.taken", looks.taken)
    with long_answers(4, patience=GIVE_UP) as reading:
        looks.reading = reading
        while looks.count < LOOKS:
            block_until(lambda: looks.count >= LOOKS or reading.bytes < looks.wanted)
            if reading.bytes < looks.wanted:
                assert reading.read(8 * 1024)
        while reading.bytes < 4 * LONG:
            assert reading.read(65536)


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
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1")
    assert network_of("2001:db8::1") != network_of("2001:db8:0:1::1")
    assert network_of("192.0.2.1") != network_of("192.0.2.2")
    assert network_of("::1") == "::1"
