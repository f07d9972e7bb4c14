"""A client that is closed says so, to what waits and to what comes later; it cancels nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from waiting import for_ever, until

import zart
from zart import errors
from zart.calls.execution import watch_execution

MEANWHILE = "the client was closed"
BEFORE = "this client is closed, it takes no more calls"


def _watched(client: Any) -> Any:
    if isinstance(client, zart.SyncClient):
        return list(client.watch_execution("x"))
    return _all_of(client.watch_execution("x"))


def _listed(client: Any) -> Any:
    if isinstance(client, zart.SyncClient):
        return list(client.list_executions())
    return _all_of(client.list_executions())


async def _all_of(found: Any) -> list[Any]:
    return [each async for each in found]


CALLS: dict[str, Callable[[Any], Any]] = {
    "get": lambda client: client.get_execution("x"),
    "start": lambda client: client.start("t", request_id="mine"),
    "grouped start": lambda client: client.start("t"),
    "run": lambda client: client.run("t", request_id="mine"),
    "result": lambda client: client.handle("x").result(),
    "watch": _watched,
    "list": _listed,
}


class Silent(grpc.GenericRpcHandler):
    """Takes every call and answers none, or only by a first message."""

    def __init__(self) -> None:
        self.begins = False
        self.asked: list[str] = []
        self.address = ""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        name = details.method.rpartition("/")[2]
        if name.startswith("Watch") or name == "RunExecution":
            return grpc.unary_stream_rpc_method_handler(self._stream)
        return grpc.unary_unary_rpc_method_handler(self._call)

    async def _stream(self, request: bytes, _context: Any) -> AsyncIterator[bytes]:
        if self.begins:
            yield b""
        await self._call(request, _context)

    async def _call(self, request: bytes, _context: Any) -> bytes:
        self.asked.append(repr(request))
        await for_ever()
        return b""


@pytest.fixture
async def silent() -> AsyncIterator[Silent]:
    server = grpc.aio.server()
    handler = Silent()
    server.add_generic_rpc_handlers([handler])
    handler.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield handler
    await server.stop(None)


@pytest.fixture(params=["plain", "renewing"])
def credentials(request: pytest.FixtureRequest) -> zart.Credentials:
    """Of a channel of gRPC's, and of one that follows its credentials."""
    return zart.Credentials(token="secret" if request.param == "renewing" else "")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_what_waits_is_told_and_not_cancelled(
    silent: Silent, credentials: zart.Credentials, call: Callable[[Any], Any]
) -> None:
    client = zart.connect(silent.address, credentials=credentials)

    async def wait() -> None:
        await call(client)

    waiting = asyncio.create_task(wait())
    await until(lambda: silent.asked)
    await client.close()
    with pytest.raises(errors.Unreachable, match=f"^{MEANWHILE}$") as told:
        await waiting
    if "mine" in silent.asked[0]:
        assert told.value.request_id == "mine"


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_what_waits_in_a_thread_is_told_the_same(
    silent: Silent, credentials: zart.Credentials, call: Callable[[Any], Any]
) -> None:
    client = zart.connect_sync(silent.address, credentials=credentials)
    waiting = asyncio.create_task(asyncio.to_thread(call, client))
    await until(lambda: silent.asked)
    await asyncio.to_thread(client.close)
    with pytest.raises(errors.Unreachable, match=f"^{MEANWHILE}$") as told:
        await waiting
    if "mine" in silent.asked[0]:
        assert told.value.request_id == "mine"


async def test_a_watch_that_was_answered_before_is_told_by_both_and_not_taken_up_again(
    silent: Silent,
) -> None:
    silent.begins = True
    client, plain = zart.connect(silent.address), zart.connect_sync(silent.address)
    watch = client.watch_raw(watch_execution("x"))
    in_thread = iter(plain.watch_raw(watch_execution("x")))
    await anext(watch)
    await asyncio.to_thread(next, in_thread)
    await client.close()
    await asyncio.to_thread(plain.close)
    with pytest.raises(errors.Unreachable, match=f"^{MEANWHILE}$"):
        await anext(watch)
    with pytest.raises(errors.Unreachable, match=f"^{MEANWHILE}$"):
        await asyncio.to_thread(next, in_thread)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_call_on_a_closed_client_is_told_the_same_by_both(
    silent: Silent, credentials: zart.Credentials, call: Callable[[Any], Any]
) -> None:
    client = zart.connect(silent.address, credentials=credentials)
    plain = zart.connect_sync(silent.address, credentials=credentials)
    await client.close()
    plain.close()
    with pytest.raises(errors.ClientClosed, match=f"^{BEFORE}$"):
        await call(client)
    with pytest.raises(errors.ClientClosed, match=f"^{BEFORE}$"):
        await asyncio.to_thread(call, plain)
    assert not silent.asked


async def test_a_group_of_tasks_does_not_end_as_if_all_were_well(silent: Silent) -> None:
    client = zart.connect(silent.address)

    async def work() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(client.get_execution("x"))
            await until(lambda: silent.asked)
            await client.close()

    with pytest.raises(ExceptionGroup) as found:
        await work()
    assert [type(each) for each in found.value.exceptions] == [errors.Unreachable]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_who_is_cancelled_in_that_moment_is_cancelled(
    silent: Silent, call: Callable[[Any], Any]
) -> None:
    client = zart.connect(silent.address)
    waiting = asyncio.ensure_future(call(client))
    await until(lambda: silent.asked)
    await client.close()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()


async def test_whose_time_is_up_in_that_moment_is_told_that(silent: Silent) -> None:
    client = zart.connect(silent.address)
    limits: list[asyncio.Timeout] = []

    async def wait() -> None:
        async with asyncio.timeout(None) as limit:
            limits.append(limit)
            await client.get_execution("x")

    waiting = asyncio.create_task(wait())
    await until(lambda: silent.asked)
    await client.close()
    limits[0].reschedule(0)
    with pytest.raises(TimeoutError):
        await waiting


async def test_a_dispatcher_is_not_run_for_ever_on_a_closed_channel(silent: Silent) -> None:
    channel = grpc.aio.insecure_channel(silent.address)
    await channel.close()
    with pytest.raises(errors.ClientClosed):
        await zart.Dispatcher([zart.Task("t")], channel=channel).run(asyncio.Event())
