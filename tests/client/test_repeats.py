"""What the channel repeats by itself: whatever a stopping server did not take, save a lease."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import grpc
import grpc.aio
import pytest
from client.in_bytes import Context, answering
from client.starting import started
from google.protobuf.message import Message

import zart
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import execution_service_pb2 as execution

LARGE = 300_000  # bytes: more than gRPC keeps by itself


def restarted(_request: bytes) -> Message:
    """Answer a Restart."""
    return admin.RestartResponse(new_run_number=2)


def all_started(request: bytes) -> Message:
    """Answer a BatchStartExecutions."""
    asked = execution.BatchStartExecutionsRequest.FromString(request).requests
    return execution.BatchStartExecutionsResponse(
        results=[
            execution.BatchStartExecutionsResult(execution=started(each.execution_id))
            for each in asked
        ]
    )


@contextlib.asynccontextmanager
async def refusing_the_first(
    code: grpc.StatusCode, asked: list[bytes], answers: Callable[[bytes], Message] = restarted
) -> AsyncIterator[zart.Client]:
    """Return a client of a server that refuses its first call; ``asked`` has what it was asked."""

    async def answer(request: bytes, context: Context) -> bytes:
        asked.append(request)
        if len(asked) == 1:
            await context.abort(code)
        return answers(request).SerializeToString()

    async with answering(answer) as address, zart.connect(address) as client:
        yield client


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_a_call_that_a_stopping_server_did_not_take_is_repeated_as_the_same(
    code: grpc.StatusCode,
) -> None:
    asked: list[bytes] = []
    async with refusing_the_first(code, asked) as client:
        assert (await client.restart("x")).new_run_number == 2
    first, second = map(admin.RestartRequest.FromString, asked)
    assert first.request_id
    assert first == second


async def test_a_large_call_is_repeated_too() -> None:
    asked: list[bytes] = []
    async with refusing_the_first(grpc.StatusCode.UNAVAILABLE, asked) as client:
        assert (await client.restart("x", payload="x" * LARGE)).new_run_number == 2
    assert len(asked) == 2
    assert asked[0] == asked[1]


async def test_a_large_group_of_starts_is_repeated_too() -> None:
    asked: list[bytes] = []
    async with refusing_the_first(grpc.StatusCode.UNAVAILABLE, asked, all_started) as client:
        handles = await asyncio.gather(
            *(client.start("t", "x" * (LARGE // 10), execution_id=f"x-{n}") for n in range(11))
        )
    assert [each.execution_id for each in handles] == [f"x-{n}" for n in range(11)]
    assert len(asked) == 2
    assert len(asked[0]) > LARGE
    assert asked[0] == asked[1]


async def test_a_lease_is_never_repeated() -> None:
    asked: list[bytes] = []
    async with refusing_the_first(grpc.StatusCode.UNAVAILABLE, asked) as client:
        with pytest.raises(zart.Unreachable):
            await client.lease_tasks("d", ["t"])
    assert len(asked) == 1
