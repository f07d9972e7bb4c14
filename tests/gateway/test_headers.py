"""Headers that become metadata or request ids, and those that come back."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from gateway.scripted import RESUME, Scripted, post
from gateway.sending import Http
from gateway.test_slow_senders import connect

from zart.v1 import admin_service_pb2 as pb


async def test_who_calls_and_its_trace_are_passed_on(
    scripted: Scripted, http_scripted: Http
) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {"Authorization": "Bearer a.b.c", "Traceparent": trace, "tracestate": "a=1",
               "baggage": "user=7", "X-Request-Id": "r-1", "Cookie": "no", "X-Other": "no"}  # fmt: skip

    await asyncio.to_thread(http_scripted.post, RESUME, {}, **headers)

    passed = {key: scripted.metadata.get(key.lower()) for key in headers}
    assert passed == {
        "Authorization": ["Bearer a.b.c"],
        "Traceparent": [trace],
        "tracestate": ["a=1"],
        "baggage": ["user=7"],
        "X-Request-Id": ["r-1"],
        "Cookie": None,
        "X-Other": None,
    }
    await post(http_scripted, RESUME)
    assert scripted.metadata["authorization"] == [""]  # nobody, whatever the channel shows


async def test_a_header_that_metadata_cannot_hold_is_refused(
    scripted: Scripted, http_scripted: Http
) -> None:
    refused = await post(http_scripted, RESUME, Authorization="Bearer \xe9")

    assert list(refused.fields) == ["authorization"]
    assert scripted.requests == []


@pytest.mark.parametrize("name", ["traceparent", "tracestate", "baggage", "x-request-id"])
async def test_what_cannot_be_passed_on_of_a_trace_fails_no_request(
    scripted: Scripted, http_scripted: Http, name: str
) -> None:
    await asyncio.to_thread(http_scripted.post, RESUME, {}, **{name: "caf\xe9"})

    assert len(scripted.requests) == 1
    assert name not in scripted.metadata


async def test_more_than_a_server_takes_of_a_trace_fails_no_request(
    scripted: Scripted, http_scripted: Http
) -> None:
    """It would be refused by chance, by gRPC. Each header counts 32 bytes besides."""
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    head = f"POST {RESUME} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += f"traceparent: {trace}\r\ntracestate: a=1\r\n" + "baggage: a=b\r\n" * 600

    assert (await asyncio.to_thread(sent, http_scripted, head)).startswith(b"HTTP/1.1 200 ")
    assert "baggage" not in scripted.metadata
    assert scripted.metadata["traceparent"] == [trace]
    assert scripted.metadata["tracestate"] == ["a=1"]


def sent(http_: Http, head: str) -> bytes:
    """Send a head, and return how the answer begins."""
    with connect(http_) as sending:
        sending.sendall(head.encode() + b"\r\n")
        return sending.recv(16)


@pytest.mark.parametrize(("size", "status"), [(14_000, 200), (14_400, 400), (16_000, 400)])
async def test_credentials_are_passed_on_as_long_as_a_server_surely_takes_them(
    scripted: Scripted, http_scripted: Http, size: int, status: int
) -> None:
    longest = {"Authorization": "x" * size, "baggage": "a" * 200}

    answer = await post(http_scripted, RESUME, **longest)

    assert answer.status == status
    if status == 200:
        assert scripted.metadata["authorization"] == ["x" * size]
    else:
        assert list(answer.fields) == ["authorization"]
        assert scripted.requests == []


@pytest.mark.parametrize(
    ("body", "headers", "request_id"),
    [
        ({"requestId": "r-1"}, {}, "r-1"),
        ({}, {"Idempotency-Key": "k-1"}, "k-1"),
        ({}, {"Idempotency-Key": '"k-1"'}, "k-1"),
        ({"requestId": "k-1"}, {"Idempotency-Key": "k-1"}, "k-1"),
    ],
)
async def test_the_request_id_is_the_bodys_or_the_headers(
    scripted: Scripted, http_scripted: Http, body: Any, headers: dict[str, str], request_id: str
) -> None:
    answer = await post(http_scripted, RESUME, body, **headers)

    assert scripted.requests[0].request_id == request_id
    assert answer.headers["Idempotency-Key"] == request_id


async def test_two_request_ids_are_refused(scripted: Scripted, http_scripted: Http) -> None:
    different = {"Idempotency-Key": "k-2"}

    refused = await post(http_scripted, RESUME, {"requestId": "r-1"}, **different)

    assert list(refused.fields) == ["request_id"]
    assert scripted.requests == []


async def test_a_mutation_without_request_id_is_given_one_that_its_repeats_keep(
    scripted: Scripted, http_scripted: Http
) -> None:
    def fail_once(context: Any) -> Any:
        if len(scripted.requests) == 1:
            return context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        return pb.ResumeResponse(rules_deleted=1)

    scripted.answer = fail_once

    answer = await post(http_scripted, RESUME)

    assert answer.json == {"rulesDeleted": 1}
    first, second = scripted.requests
    assert first.request_id
    assert first == second
    assert answer.headers["Idempotency-Key"] == first.request_id


@pytest.mark.parametrize("said", ["é☃", "trailing ", "a\nb"])
async def test_a_request_id_that_no_header_holds_is_not_told(
    scripted: Scripted, http_scripted: Http, said: str
) -> None:
    answer = await post(http_scripted, RESUME, {"requestId": said})

    assert (answer.status, "Idempotency-Key" in answer.headers) == (200, False)


def test_who_would_rather_speak_http_2_is_answered_and_nobody_warned(
    http_scripted: Http, caplog: pytest.LogCaptureFixture
) -> None:
    """As Java's own client asks, each time."""
    wishes = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": "h2c",
        "HTTP2-Settings": "AAEAAEAA",
    }
    assert http_scripted.get("/healthz", **wishes).status == 200
    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []
