"""Large messages are walked before they are parsed: in time that grows with their bytes alone."""

from __future__ import annotations

import time
from typing import Any

import grpc
import pytest
from waiting import GIVE_UP

from zart.testing.server import ServerUnderTest
from zart.v1 import execution_service_pb2 as pb
from zart_server.api.wire import check_parts
from zart_server.domain.errors import TooManyItems

KIND = pb.BatchStartExecutionsRequest.DESCRIPTOR
ENDLESS = b"\xff" * (1 << 20)  # a number that goes on and on
WITHIN = b"\x0a\x80\x80\x40" + ENDLESS  # a request that is said to have a megabyte


@pytest.mark.parametrize(
    "raw",
    [ENDLESS, b"\x0a" + ENDLESS, b"\x08" + ENDLESS, WITHIN, b"\x0b" + ENDLESS],
    ids=["a key", "a length", "a number", "within", "an unknown field"],
)
def test_a_number_without_an_end_is_given_up_at_once(raw: bytes) -> None:
    begun = time.thread_time()
    check_parts(raw, KIND)  # the parser refuses it
    assert time.thread_time() - begun < 0.1  # a minute, where each byte is added to the number


def test_numbers_of_ten_bytes_are_walked_over() -> None:
    longest = b"\x08" + b"\xff" * 9 + b"\x01"
    check_parts(longest * 100, KIND)
    with pytest.raises(TooManyItems):
        check_parts(longest * 110_000, KIND)


@pytest.mark.parametrize(
    ("method", "code", "why"),
    [
        ("Check", grpc.StatusCode.RESOURCE_EXHAUSTED, "at most 65536 are taken"),
        ("Watch", grpc.StatusCode.INVALID_ARGUMENT, "larger than any"),
    ],
)
async def test_who_asks_for_health_sends_nothing_large(
    zart_server: ServerUnderTest, method: str, code: grpc.StatusCode, why: str
) -> None:
    async with grpc.aio.insecure_channel(zart_server.address) as channel:
        rpc: Any = channel.unary_unary(f"/grpc.health.v1.Health/{method}")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rpc(b"\x0a\x80\x80\x40" + b"x" * (1 << 20), timeout=GIVE_UP)
    assert caught.value.code() is code
    assert why in (caught.value.details() or "")
