"""A server at the end of a slow way is reached: connecting takes several times its delay."""

from __future__ import annotations

import asyncio

import pytest
from acceptance.cutting import Cutter
from rig import CHAIN, Rig

import zart
from zart.testing.server import ServerUnderTest

SECONDS = 1.2  # more than the longest wait between two attempts to connect


async def test_calls_reach_a_server_that_is_far_away(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.start("x", CHAIN)

    def is_there() -> bool:
        with zart.connect_sync(way.address, timeout=60) as client:
            return client.get_execution("x").run.run_number == 0

    async with Cutter(zart_server.address, SECONDS) as way:
        async with zart.connect(way.address, timeout=60) as client:
            assert (await client.get_execution("x")).run.run_number == 0
            with pytest.raises(zart.errors.ExecutionNotFound):
                await client.get_execution("y")
        assert await asyncio.to_thread(is_there)


@pytest.mark.parametrize("name", ["https_proxy", "http_proxy", "grpc_proxy"])
async def test_a_proxy_for_the_web_is_not_asked_for_this_machine(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    await rig.start("x", CHAIN)
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with zart.connect(zart_server.address) as client:
        assert (await client.get_execution("x")).run.run_number == 0
