"""What a call raised keeps nothing of its callers once they have dealt with it: payloads, mostly."""

from __future__ import annotations

import asyncio
import gc
import math
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import grpc
import grpc.aio
import pytest
from client.scripted import refusal
from client.test_calls_in_outages import NO_DATABASE, Server, clients
from google.rpc import code_pb2

import zart
from zart.calls import execution
from zart.calls.call import Call
from zart.errors import Unreachable, ZartError
from zart.outages import Repeats, Standing

REFUSED = refusal(code_pb2.NOT_FOUND, "EXECUTION_NOT_FOUND", "there is none")
SOON = 2.0  # seconds of an outage that outlasts the call

CALLS: dict[str, Callable[[Any], Any]] = {
    "change": lambda client: client.restart("x"),
    "start": lambda client: client.start("t", execution_id="x", request_id="mine"),
    "grouped start": lambda client: client.start("t", execution_id="x"),
    "run": lambda client: client.run("t", timeout=SOON),
    "result": lambda client: client.handle("x").result(timeout=SOON),
}


NOTHING = dict.fromkeys(CALLS, False)


class Held:
    """What a caller has in its hands."""


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """One that serves."""
    made = Server()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Have nothing looked for that is garbage, but knows itself."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def kept(call: Callable[[], object]) -> bool:
    """Return whether what the caller of a call that fails had in its hands is there after it."""
    holding: list[weakref.ref[Held]] = []

    def asked() -> None:
        held = Held()
        holding.append(weakref.ref(held))
        call()

    try:
        asked()
    except (ZartError, TimeoutError):
        pass
    else:
        raise AssertionError("it did not fail")
    return holding[0]() is not None


async def kept_by_a_task(call: Callable[[], Any]) -> bool:
    """Return it of a call of asyncio."""
    holding: list[weakref.ref[Held]] = []

    async def asked() -> None:
        held = Held()
        holding.append(weakref.ref(held))
        await call()

    try:
        await asked()
    except (ZartError, TimeoutError):
        pass
    else:
        raise AssertionError("it did not fail")
    await asyncio.sleep(0)  # the loop itself has what it calls until its next turn
    return holding[0]() is not None


async def kept_by(
    client: zart.Client, sync: zart.SyncClient
) -> tuple[dict[str, bool], dict[str, bool]]:
    """Return of which calls something is kept, by the client of asyncio and by the plain one."""
    plain = [asyncio.to_thread(kept, partial(call, sync)) for call in CALLS.values()]
    tasks = [kept_by_a_task(partial(call, client)) for call in CALLS.values()]
    found = await asyncio.gather(*tasks, *plain)
    return (
        dict(zip(CALLS, found[: len(CALLS)], strict=True)),
        dict(zip(CALLS, found[len(CALLS) :], strict=True)),
    )


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("why", [REFUSED, NO_DATABASE], ids=["refused", "outage"])
async def test_who_was_refused_keeps_nothing(server: Server, why: Any) -> None:
    async with clients(server, timeout=SOON, group_starts=True) as both:
        server.refuses = why
        assert await kept_by(*both) == (NOTHING, NOTHING)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("name", ["run", "result"])
async def test_a_stream_that_was_refused_is_not_kept_either(server: Server, name: str) -> None:
    def requests() -> int:
        return sum(type(each) is Call for each in gc.get_objects())

    async with clients(server) as (_, sync):
        server.refuses = REFUSED
        before = requests()
        await asyncio.to_thread(kept, partial(CALLS[name], sync))
        assert requests() == before


@pytest.mark.usefixtures("no_collector")
async def test_who_asks_a_client_that_is_closed_keeps_nothing(server: Server) -> None:
    async with clients(server, group_starts=True) as both:
        await both[0].close()
        both[1].close()
        assert await kept_by(*both) == (NOTHING, NOTHING)


@pytest.mark.usefixtures("no_collector")
def test_what_is_raised_late_is_known_to_no_frame() -> None:
    """As a start repeats until there is no time left, or gRPC says first that there is none."""

    def failed(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
        return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())

    def late(*, by_grpc: bool) -> None:
        repeats = Repeats(Standing(was_answered=True), execution.start("t"), math.inf)
        assert repeats.rest_after(failed(grpc.StatusCode.UNAVAILABLE)) > 0
        assert isinstance(repeats.problem, Unreachable)
        repeats._deadline = 0.0
        if by_grpc:
            repeats.rest_after(failed(grpc.StatusCode.DEADLINE_EXCEEDED))
        repeats.left()

    assert not kept(lambda: late(by_grpc=False))
    assert not kept(lambda: late(by_grpc=True))
