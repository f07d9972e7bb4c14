"""What anybody may call without credentials takes little of a server, whatever is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from half_messages import HalfCalls
from waiting import for_ever, until

from zart import errors
from zart.testing.server import ServerUnderTest
from zart_server.api import strangers_messages
from zart_server.api.strangers_messages import AT_ONCE, LARGEST, MOST_WAITING, StrangersMessages
from zart_server.domain.errors import InvalidField, ServerBusy

CHECK = "/grpc.health.v1.Health/Check"
HALF = 15 * 1024 * 1024  # bytes that are announced
MANY = 5 * AT_ONCE


async def check(server: ServerUnderTest, service: str = "") -> int:
    async with grpc.aio.insecure_channel(server.address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = await health_pb2_grpc.HealthStub(channel).Check(request)
        return int(answer.status)


async def test_of_halves_few_are_read_and_whole_ones_are_answered(
    guarded: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the others no more comes in than a window of 64 KiB."""
    monkeypatch.setattr(strangers_messages, "_PATIENCE", 3600.0)
    monkeypatch.setattr(strangers_messages, "_HURRIED", 3600.0)
    async with HalfCalls(guarded.address) as stranger:
        calls = [stranger.begin(CHECK, HALF) for _ in range(MANY)]
        last = stranger.begin("/zart.v1.AdminService/ListRuns", HALF)  # refused, once all are known
        await until(lambda: last in stranger.ended)
        await until(lambda: len(stranger.windows) >= AT_ONCE)
        assert (len(stranger.windows), set(stranger.windows) < set(calls)) == (AT_ONCE, True)
        monkeypatch.setattr(strangers_messages, "_HURRIED", 1.0)
        assert await check(guarded) == health_pb2.HealthCheckResponse.SERVING


async def test_a_half_is_ended(guarded: ServerUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers_messages, "_PATIENCE", 0.1)
    async with HalfCalls(guarded.address) as stranger:
        half = stranger.begin(CHECK, HALF)
        await until(lambda: half in stranger.ended)


async def test_a_large_one_is_refused_unparsed(guarded: ServerUnderTest) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await check(guarded, "x" * LARGEST)
    assert isinstance(errors.from_call(refused.value), errors.PayloadTooLarge)
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await check(guarded, "x" * (LARGEST - 10))
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


async def whole() -> AsyncIterator[bytes]:
    yield b"whole"


async def half() -> AsyncIterator[bytes]:
    await for_ever()
    yield b""


async def test_the_newest_goes_first_and_too_many_end_the_oldest() -> None:
    messages = StrangersMessages()
    halves = [asyncio.create_task(messages.read(half())) for _ in range(AT_ONCE + MOST_WAITING)]
    await asyncio.sleep(0)
    newest = asyncio.create_task(messages.read(whole()))
    assert await newest == b"whole"

    assert isinstance(halves[AT_ONCE].exception(), ServerBusy)
    for task in halves:
        task.cancel()
    ends = await asyncio.gather(*halves, return_exceptions=True)
    assert sum(isinstance(end, asyncio.CancelledError) for end in ends) >= MOST_WAITING - 1
    assert messages._free == AT_ONCE


async def test_without_others_it_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers_messages, "_PATIENCE", 0.1)
    messages = StrangersMessages()
    with pytest.raises(InvalidField):
        await messages.read(half())
    assert await messages.read(whole()) == b"whole"


async def test_the_oldest_may_have_left_as_another_comes() -> None:
    messages = StrangersMessages()
    halves = [asyncio.create_task(messages.read(half())) for _ in range(AT_ONCE + MOST_WAITING)]
    await asyncio.sleep(0)
    newest = asyncio.create_task(messages.read(whole()))
    messages._waiting[0].cancel()  # as by its time, or by its caller, in the same turn
    assert await newest == b"whole"
    for task in halves:
        task.cancel()
    await asyncio.gather(*halves, return_exceptions=True)
    assert messages._free == AT_ONCE
