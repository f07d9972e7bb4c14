"""A channel that follows its credentials closes every channel that it ever had."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from authority import Authority
from waiting import GIVE_UP

import zart
from zart.renewing import RenewingAioChannel, RenewingChannel
from zart.v1 import execution_service_pb2 as pb
from zart.v1 import execution_service_pb2_grpc as services


class Watched(services.ExecutionServiceServicer):
    """Has watches that go on until they are cut."""

    async def WatchExecution(
        self, _request: Any, _context: Any
    ) -> AsyncIterator[pb.WatchExecutionResponse]:
        """Tell one state, and no more."""
        yield pb.WatchExecutionResponse()
        await asyncio.Event().wait()


async def test_a_watch_on_a_channel_long_replaced_ends_with_the_last_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zart.renewing._LOOK_EVERY", 0.0)
    monkeypatch.setattr("zart.renewing._KEPT", 0.0)
    server = grpc.aio.server()
    services.add_ExecutionServiceServicer_to_server(Watched(), server)  # type: ignore[abstract]
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    bundle = Authority(tmp_path).ca
    channel = RenewingAioChannel(
        lambda _: grpc.aio.insecure_channel(address), zart.Credentials(ca=bundle)
    )
    stub = services.ExecutionServiceStub(channel)
    watches = []
    for stamp in range(3):
        os.utime(bundle, (stamp, stamp))
        watches.append(stub.WatchExecution(pb.WatchExecutionRequest()))
        await watches[-1].read()
    assert channel._closing

    await asyncio.wait_for(channel.close(), GIVE_UP)

    codes = [await asyncio.wait_for(watch.code(), GIVE_UP) for watch in watches]
    assert codes == [grpc.StatusCode.CANCELLED] * 3
    await server.stop(None)


def test_a_channel_that_is_held_stays_the_one_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks meanwhile: another thread may, beside a call that begins."""
    monkeypatch.setattr("zart.renewing._LOOK_EVERY", 0.0)
    bundle = Authority(tmp_path).ca
    with RenewingChannel(
        lambda _: grpc.insecure_channel("127.0.0.1:1"), zart.Credentials(ca=bundle)
    ) as channel:
        renewed = channel.renewed
        with renewed.held() as held:
            os.utime(bundle, (1, 1))
            renewed.look()
            assert renewed.channel is held
        with renewed.held() as next_one:
            assert renewed.channel is next_one
        assert next_one is not held
