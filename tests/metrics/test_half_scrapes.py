"""Who sends half a scrape, or reads nothing of one, takes little of a process, and not for long."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest
from metrics.scraping import scraped
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from waiting import GIVE_UP, until

from zart.metrics.listener import serving_metrics
from zart.metrics.registry import registry_of
from zart.metrics.server import AT_ONCE

ASK = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
MANY = 200
LONG = 16_000_000  # characters: more than the system keeps of an answer that nobody reads


def connect(address: str | None) -> socket.socket:
    assert address is not None
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=GIVE_UP)


def is_closed(sending: socket.socket) -> bool:
    """Return whether a connection was closed without an answer; waits for the one or the other."""
    try:
        return not sending.recv(1)
    except ConnectionResetError:
        return True


def cannot_send(sending: socket.socket) -> bool:
    """Send one byte more; gives whether nobody is there any more."""
    try:
        sending.sendall(b"x")
    except OSError:
        return True
    return False


@pytest.mark.parametrize("half", [b"", b"GET /me", ASK[:-2]], ids=["nothing", "a line", "a head"])
async def test_many_halves_leave_room_for_a_scrape(half: bytes) -> None:
    async with serving_metrics("127.0.0.1:0", registry_of("server", ())) as address:
        threads = threading.active_count()
        with contextlib.ExitStack() as held:
            halves = []
            for _ in range(MANY):
                halves.append(held.enter_context(connect(address)))
                halves[-1].sendall(half)

            assert (await scraped(address))("zart_build_info", component="server") == 1
            # Some that have given their place back are still to end.
            assert threading.active_count() < threads + 2 * AT_ONCE
            assert all(map(is_closed, halves[: MANY - AT_ONCE]))


async def test_a_half_is_given_up_though_more_of_it_comes(
    capfd: pytest.CaptureFixture[str],
) -> None:
    registry = registry_of("server", ())
    async with serving_metrics("127.0.0.1:0", registry, patience=0.5) as address:
        with connect(address) as sending:
            sending.sendall(ASK[:-2] + b"X-More: ")
            await until(lambda: cannot_send(sending))
        assert (await scraped(address))("zart_build_info", component="server") == 1
    assert capfd.readouterr().err == ""


class Long(Collector):
    """What takes so many bytes to tell."""

    def collect(self) -> Iterator[Metric]:
        """Yield a metric with a long text."""
        yield GaugeMetricFamily("long", "x" * LONG, value=1)


async def test_who_reads_nothing_of_an_answer_is_given_up(
    capfd: pytest.CaptureFixture[str],
) -> None:
    registry = registry_of("server", [Long()])
    async with serving_metrics("127.0.0.1:0", registry, patience=0.5) as address:
        assert address is not None
        host, _, port = address.rpartition(":")
        with socket.socket() as reading:
            reading.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            reading.settimeout(GIVE_UP)
            reading.connect((host, int(port)))
            reading.sendall(ASK)
            await until(lambda: cannot_send(reading))
    assert capfd.readouterr().err == ""


class Held(Collector):
    """What is told only once somebody lets it."""

    def __init__(self) -> None:
        self.begun: list[None] = []
        self.may_go = threading.Event()

    def collect(self) -> Iterator[Metric]:
        """Yield a metric, later."""
        self.begun.append(None)
        self.may_go.wait(GIVE_UP)
        yield GaugeMetricFamily("held", "what was waited for", value=1)


async def test_a_whole_request_keeps_its_place() -> None:
    held = Held()
    async with serving_metrics("127.0.0.1:0", registry_of("server", [held])) as address:
        with contextlib.ExitStack() as opened:
            whole = [opened.enter_context(connect(address)) for _ in range(AT_ONCE)]
            for sending in whole:
                sending.sendall(ASK)
            await until(lambda: len(held.begun) == AT_ONCE)
            one_more = opened.enter_context(connect(address))
            one_more.sendall(ASK)

            assert is_closed(one_more)
            held.may_go.set()
            assert {sending.recv(15) for sending in whole} == {b"HTTP/1.0 200 OK"}
