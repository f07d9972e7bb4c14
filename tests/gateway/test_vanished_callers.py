"""Callers that are gone without a word, as where their machine lost power."""

from __future__ import annotations

import asyncio
import http.client
import logging
import socket
from typing import Any

import grpc
import pytest
from gateway.counting import counting
from gateway.scripted import RESUME, Scripted
from gateway.sending import Http
from gateway.test_watch import line_of, watching
from rig import CHAIN, Rig
from waiting import GIVE_UP, until

from zart.gateway.listener import open_listener
from zart.testing.server import ServerUnderTest
from zart.v1 import admin_service_pb2 as pb


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="this platform has other options")
def test_a_quiet_connection_is_probed_and_given_up_after_a_minute() -> None:
    with (
        open_listener("127.0.0.1:0") as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle, between, probes, unacknowledged = (
            accepted.getsockopt(socket.IPPROTO_TCP, option)
            for option in (
                socket.TCP_KEEPIDLE,
                socket.TCP_KEEPINTVL,
                socket.TCP_KEEPCNT,
                socket.TCP_USER_TIMEOUT,
            )
        )
    assert idle + between * probes <= 60
    assert 0 < unacknowledged <= 60_000


async def left_before_its_answer(scripted: Scripted, http_: Http, answer: Any) -> None:
    """Call, leave, and have the server answer only once the gateway has seen that."""
    has_left = asyncio.Event()

    async def late(context: Any) -> Any:
        await has_left.wait()
        return await answer(context)

    scripted.answer = late
    connection = http.client.HTTPConnection(http_.address, timeout=GIVE_UP)
    connection.request("POST", RESUME, b"{}", {"Content-Type": "application/json"})
    await until(lambda: scripted.requests)
    connection.close()
    # What comes later over another connection is answered later than this end is seen.
    assert (await asyncio.to_thread(http_.get, "/healthz")).status == 200
    has_left.set()


async def test_one_that_left_before_its_answer_is_told_as_such(
    scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "zart.gateway")

    async def answer(_context: Any) -> pb.ResumeResponse:
        return pb.ResumeResponse()

    with counting(scripted.address) as made:
        await left_before_its_answer(scripted, made.http, answer)
        await made.counts({("Resume", "499"): 1})
    (line,) = [vars(r) for r in caplog.records if r.getMessage() == "call"]
    assert (line["path"], line["status"]) == (RESUME, "499")


async def test_that_servers_fail_is_told_though_nobody_waited_for_it(scripted: Scripted) -> None:
    """Callers give up sooner than the gateway does where a server is stuck."""

    async def answer(context: Any) -> None:
        await context.abort(grpc.StatusCode.INTERNAL, "no")

    with counting(scripted.address) as made:
        await left_before_its_answer(scripted, made.http, answer)
        await made.counts({("Resume", "500"): 1})


async def test_a_watch_that_is_left_is_told_as_such(rig: Rig, zart_server: ServerUnderTest) -> None:
    await rig.start("x", CHAIN)
    with counting(zart_server.address) as made:
        with watching(made.http, "/api/v1/executions/x/watch") as response:
            assert (await line_of(response))["steps"]
        await made.counts({("WatchExecution", "499"): 1})


async def test_one_that_took_its_whole_answer_is_not(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.start("x", CHAIN)
    await rig.work()
    with counting(zart_server.address) as made:
        with watching(made.http, "/api/v1/executions/x/watch") as response:
            while await line_of(response) is not None:
                pass
        await made.counts({("WatchExecution", "200"): 1})
