"""Large bodies of some callers, which wait to be read, are in nobody's way for long."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import threading
import weakref
from typing import Any

import pytest
from gateway.holding_up import held_up
from gateway.scripted import RESUME, Scripted, post
from gateway.sending import Http, gateway_to
from waiting import GIVE_UP, until

from zart.gateway import aside
from zart.gateway.incoming import message_of
from zart.v1 import admin_service_pb2 as pb

LARGE = json.dumps({"ruleId": "pr-1"}) + " " * aside.LARGE
LARGEST = json.dumps({"payload": [0] * 530_000}, separators=(",", ":")).encode()
HEAD = (
    b"POST /api/v1/executions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(LARGEST)
)
MOST = 8  # of the largest that may wait to be read


def large_answer(_context: object) -> pb.ResumeResponse:
    found = pb.ResumeResponse()
    found.rules.add(reason="x" * aside.LARGE)
    return found


async def test_an_answer_does_not_wait_for_requests(
    scripted: Scripted, http_scripted: Http
) -> None:
    scripted.answer = large_answer
    async with held_up(aside.REQUESTS) as waiting:
        asking = asyncio.create_task(post(http_scripted, RESUME))
        await until(lambda: asking.done() or waiting())
        assert asking.done()
    assert asking.result().status == 200


async def test_what_was_done_is_told_with_its_key_where_the_answer_has_to_wait_too_long(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zart.gateway.calls.GRACE", 0.2)
    scripted.answer = large_answer
    async with held_up(aside.ANSWERS) as waiting:
        with gateway_to(scripted.address) as http_:
            asking = asyncio.create_task(post(http_, RESUME))
            await until(waiting)
        cut = await asking
    assert cut.status == 503
    assert "may have happened" in cut.json["message"]
    assert cut.headers["Idempotency-Key"] == scripted.requests[0].request_id


async def test_more_than_may_wait_to_be_read_are_503_and_those_that_left_are_not_read(
    scripted: Scripted, http_scripted: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def noted(*given: Any) -> Any:
        read.append(given)
        return message_of(*given)

    monkeypatch.setattr("zart.gateway.reading.message_of", noted)
    host, _, port = http_scripted.address.rpartition(":")

    def send() -> socket.socket:
        sending = socket.create_connection((host, int(port)), timeout=GIVE_UP)
        sending.sendall(HEAD + LARGEST)
        return sending

    async with held_up(aside.REQUESTS) as waiting:
        with contextlib.ExitStack() as held:
            for _ in range(MOST):
                held.enter_context(await asyncio.to_thread(send))
            await until(lambda: waiting() == MOST)
            refused = await post(http_scripted, RESUME, LARGE)
            assert (refused.status, refused.reason) == (503, "SERVER_BUSY")
            assert (await post(http_scripted, RESUME)).status == 200
            read.clear()
        # They have left: there is room again once that is seen.
        while (another := asyncio.create_task(post(http_scripted, RESUME, LARGE))) is not None:
            await until(lambda: another.done() or waiting() > MOST)
            if not another.done():
                break
            assert another.result().reason == "SERVER_BUSY"
    assert (await another).status == 200
    assert len(read) == 1


class Body:
    """A body, of which can be told when it is gone."""


async def test_what_its_caller_left_is_not_kept_in_memory_until_its_turn() -> None:
    thread, may_end = aside.Aside("test"), threading.Event()
    running = asyncio.create_task(thread.done(aside.LARGE, may_end.wait))
    body = Body()
    kept = weakref.ref(body)
    waiting = asyncio.create_task(thread.done(aside.LARGE, repr, body))
    del body
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    del waiting
    gc.collect()
    try:
        assert kept() is None
    finally:  # the process would wait for the thread
        may_end.set()
        assert await running
        thread.thread.shutdown()
