"""A gateway that stops tells each caller so whose answer it has no time to wait for."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from gateway.scripted import RESUME, Scripted, post
from gateway.sending import gateway_to
from google.rpc import code_pb2
from waiting import GIVE_UP, for_ever, until

HALF = (
    b"POST /admin/v1/resume HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n{"
)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give calls less time than uvicorn does."""
    for module in ("calls", "connection"):
        monkeypatch.setattr(f"zart.gateway.{module}.GRACE", 0.2)


async def test_a_change_that_takes_too_long_may_have_happened_and_tells_its_key(
    scripted: Scripted,
) -> None:
    scripted.answer = lambda _: for_ever()
    with gateway_to(scripted.address) as http_:
        asking = asyncio.create_task(post(http_, RESUME))
        await until(lambda: scripted.requests)
    cut = await asking

    assert (cut.status, cut.json["code"]) == (503, code_pb2.UNAVAILABLE)
    assert "may have happened" in cut.json["message"]
    assert cut.headers["Retry-After"] == "1"
    assert cut.headers["Idempotency-Key"] == scripted.requests[0].request_id


async def test_a_watch_that_has_told_nothing_yet_is_a_503(scripted: Scripted) -> None:
    scripted.answer = lambda _: for_ever()
    with gateway_to(scripted.address) as http_:
        asking = asyncio.create_task(asyncio.to_thread(http_.get, "/api/v1/executions/x/watch"))
        await until(lambda: scripted.requests)
    cut = await asking

    assert (cut.status, cut.json["code"]) == (503, code_pb2.UNAVAILABLE)


def test_half_a_request_did_not_come_to_its_end_in_time() -> None:
    with socket.socket() as sending:
        sending.settimeout(GIVE_UP)
        with gateway_to("127.0.0.1:1") as http_:
            host, _, port = http_.address.rpartition(":")
            sending.connect((host, int(port)))
            sending.sendall(HALF)
            assert sending.recv(1024).startswith(b"HTTP/1.1 100 ")
        answer = b""
        while part := sending.recv(65536):
            answer += part

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["code"] == code_pb2.DEADLINE_EXCEEDED
