"""What a connection answers in place of the application is counted and logged as what it was."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket

import pytest
from gateway.counting import Counting, counting
from gateway.scripted import Scripted
from gateway.test_slow_senders import HALVES, HEAD, connect
from metrics.scraping import scraped
from waiting import eventually

from zart.gateway import server

BROKEN = HEAD + b"Transfer-Encoding: chunked\r\n\r\nno number\r\n"
START = "StartExecution"


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the statuses of calls in the log."""
    return [vars(record)["status"] for record in caplog.records if record.getMessage() == "call"]


def to_the_end(sending: socket.socket) -> bytes:
    """Read what comes until it is closed."""
    return b"".join(iter(lambda: sending.recv(65536), b""))


async def answer_to(made: Counting, sent: bytes) -> bytes:
    """Send this and nothing more, and return the status line that comes back."""
    with connect(made.http) as sending:
        sending.sendall(sent)
        return (await asyncio.to_thread(to_the_end, sending)).partition(b"\r\n")[0]


@pytest.mark.parametrize(
    ("sent", "status"),
    [(HALVES["a body"], "408"), (HALVES["a body in chunks"], "408"), (BROKEN, "400")],
    ids=["late", "late in chunks", "broken"],
)
async def test_one_whose_body_did_not_come(
    scripted: Scripted, caplog: pytest.LogCaptureFixture, sent: bytes, status: str
) -> None:
    caplog.set_level(logging.INFO, "zart.gateway")
    with counting(scripted.address, patience=1.0) as made:
        assert status.encode() in await answer_to(made, sent)
        await made.counts({(START, status): 1})
    assert logged(caplog) == [status]


async def test_one_that_had_to_make_room(
    scripted: Scripted, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_WAITING", 1)
    caplog.set_level(logging.INFO, "zart.gateway")
    with counting(scripted.address) as made, contextlib.ExitStack() as held:
        first = held.enter_context(connect(made.http))
        first.sendall(HALVES["a body"])

        async def is_served() -> bool:
            found = await scraped(made.metrics)
            return ({"kind": "call"}, 1) in found.of("zart_gateway_requests_in_progress")

        await eventually(is_served)
        held.enter_context(connect(made.http)).sendall(HALVES["a body"])
        assert b" 503 " in await asyncio.to_thread(to_the_end, first)
        await made.counts({(START, "503"): 1})
    assert logged(caplog)[:1] == ["503"]


async def test_one_who_left_is_told_as_such(
    scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "zart.gateway")
    with counting(scripted.address) as made:
        with connect(made.http) as sending:
            sending.sendall(HALVES["a body"])
        await made.counts({(START, "499"): 1})
    assert logged(caplog) == ["499"]
