"""Pings: a dead server is noticed while a call is open, and gRPC's default policy is kept to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from acceptance.cutting import Cutter
from between import Between
from dispatching import dispatching
from waiting import GIVE_UP, eventually, for_ever, until

import zart
from zart.channel import aio_channel, keepalive_of, options
from zart.testing.server import ServerUnderTest

OFTEN = 0.1  # seconds between pings; the policy counts them, whatever is between


class Waits(grpc.GenericRpcHandler):
    """Answers /quick at once and /waits never."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        async def call(_request: bytes, _context: object) -> bytes:
            if details.method == "/t/waits":
                await for_ever()
            return b""

        return grpc.unary_unary_rpc_method_handler(call)


@contextlib.asynccontextmanager
async def strict() -> AsyncIterator[str]:
    """Return the address of a server of gRPC's default policy."""
    server = grpc.aio.server(handlers=[Waits()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def impolite(address: str) -> grpc.aio.Channel:
    """Open a channel that pings without calls too, as all of ours did."""
    always = ("grpc.keepalive_permit_without_calls", 1)
    return grpc.aio.insecure_channel(address, options=[*options(OFTEN)[:-2], always,
                                                       ("grpc.http2.max_pings_without_data", 0)])  # fmt: skip


async def quick(channel: grpc.aio.Channel) -> None:
    """Make a call that is answered at once."""
    call: Any = channel.unary_unary("/t/quick")
    await call(b"")


def open_call(channel: grpc.aio.Channel) -> Any:
    """Begin a call that is answered never."""
    call: Any = channel.unary_unary("/t/waits")
    return call(b"")


async def ended(channel: grpc.aio.Channel) -> None:
    """Wait until a connection is ended by the other side."""
    await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)


async def test_without_a_call_the_default_policy_is_kept_to() -> None:
    async with strict() as address, impolite(address) as other, aio_channel(
        address, keepalive=OFTEN
    ) as ours:  # fmt: skip
        await quick(other)
        await quick(ours)
        await asyncio.wait_for(ended(other), GIVE_UP)
        assert ours.get_state() is grpc.ChannelConnectivity.READY


async def test_without_pings_it_is_kept_to_while_a_call_is_open() -> None:
    async with strict() as address, aio_channel(address, keepalive=OFTEN) as other, aio_channel(
        address, keepalive=0
    ) as ours:  # fmt: skip
        waits = [open_call(other), open_call(ours)]
        await quick(ours)
        await quick(other)
        await asyncio.wait_for(ended(other), GIVE_UP)
        assert ours.get_state() is grpc.ChannelConnectivity.READY
        assert not waits[1].done()
        for call in waits:
            call.cancel()


async def test_a_dispatcher_that_waits_is_not_cut_off_by_the_default_policy(
    zart_server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    """A poll of thirty seconds was, after thirteen: at the fourth ping."""
    caplog.set_level(logging.WARNING, "zart.dispatcher")
    task = zart.Task("t")
    task.step(name="a")(lambda _: None)
    async with (
        Between(zart_server.address) as proxy,
        dispatching(zart_server, task, address=proxy.address, keepalive=2 * OFTEN),
    ):
        await until(lambda: proxy.passed["LeaseTasks"] > 5)
    told = [r.getMessage() for r in caplog.records if r.name.startswith("zart.dispatcher")]
    assert [line for line in told if "the event loop" not in line] == []  # a busy machine's


async def test_a_server_that_is_cut_off_is_noticed_while_a_call_is_open() -> None:
    async with (
        strict() as address,
        Cutter(address) as cutter,
        aio_channel(cutter.address) as channel,
    ):
        await quick(channel)
        cutter.withhold()
        with pytest.raises(grpc.aio.AioRpcError):  # nothing else would end it
            await asyncio.wait_for(open_call(channel), GIVE_UP)
        await channel.close()

        async def all_are_cut() -> bool:
            cutter.refuse()  # also what the channel began anew before it was closed
            return not cutter._writers

        await eventually(all_are_cut)


def test_the_environment_says_how_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZART_KEEPALIVE", raising=False)
    assert (keepalive_of(None), keepalive_of(0), keepalive_of(7)) == (3, 0, 7)
    monkeypatch.setenv("ZART_KEEPALIVE", "0")
    assert (keepalive_of(None), keepalive_of(7)) == (0, 7)
    for text in ("-1", "soon", "nan", "inf"):
        monkeypatch.setenv("ZART_KEEPALIVE", text)
        with pytest.raises(ValueError, match="ZART_KEEPALIVE"):
            zart.connect_sync()
