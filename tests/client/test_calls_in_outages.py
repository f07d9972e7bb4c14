"""An outage longer than the channel's own repeats: a call goes on until its time is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from client.scripted import EXECUTION, refusal
from client.starting import started
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from ports import free_port
from waiting import GIVE_UP, until

import zart
from zart import errors
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import dispatch_service_pb2 as dispatch
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution

DONE = states.Run(run_id="x:run:0", status=states.RUN_STATUS_COMPLETED, result_json="7")
OVER = execution.WatchExecutionResponse(execution=EXECUTION, run=DONE)
STARTED = execution.StartExecutionResponse(execution=EXECUTION)
NO_DATABASE = refusal(code_pb2.UNAVAILABLE, "STORE_UNAVAILABLE", "the database cannot serve now")
DRAINING = refusal(code_pb2.UNAVAILABLE, "SHUTTING_DOWN", "stopping")
REPEATED = 5  # times, of a call by its channel
SOON = 30.0  # seconds: of a call that gives up by itself, on a machine however busy


def _started_together(request: bytes) -> Message:
    asked = execution.BatchStartExecutionsRequest.FromString(request).requests
    results = [
        execution.BatchStartExecutionsResult(execution=started(each.execution_id)) for each in asked
    ]
    return execution.BatchStartExecutionsResponse(results=results)


ANSWERS: dict[str, Callable[[bytes], Message]] = {
    "Restart": lambda _: admin.RestartResponse(new_run_number=2),
    "ListPauseRules": lambda _: admin.ListPauseRulesResponse(),
    "StartExecution": lambda _: STARTED,
    "BatchStartExecutions": _started_together,
    "ExtendLeases": lambda _: dispatch.ExtendLeasesResponse(),
}
STREAMS: dict[str, list[Message]] = {
    "WatchExecution": [OVER],
    "RunExecution": [
        execution.RunExecutionResponse(started=STARTED),
        execution.RunExecutionResponse(state=OVER),
    ],
}


class Server(grpc.GenericRpcHandler):
    """A server of which all is well, unless it ``refuses`` each call, or is stopped."""

    def __init__(self) -> None:
        self.refuses: status_pb2.Status | None = None
        self.asked: list[tuple[str, bytes, float]] = []
        self.address = f"127.0.0.1:{free_port()}"
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Serve."""
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers([self])
        self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        """Be gone, with all calls."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    def times(self, name: str) -> list[float]:
        """Return when a method was called."""
        return [at for method, _, at in self.asked if method == name]

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        name = details.method.rpartition("/")[2]

        async def note(request: bytes, context: Any) -> None:
            self.asked.append((name, request, time.monotonic()))
            if self.refuses is not None:
                status = rpc_status.to_status(self.refuses)
                await context.abort(status.code, status.details, status.trailing_metadata)

        async def call(request: bytes, context: Any) -> bytes:
            await note(request, context)
            return ANSWERS[name](request).SerializeToString()

        async def stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
            await note(request, context)
            for message in STREAMS[name]:
                yield message.SerializeToString()

        if name in STREAMS:
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(call)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """One that serves."""
    made = Server()
    await made.start()
    yield made
    await made.stop()


@asynccontextmanager
async def clients(
    server: Server, **options: Any
) -> AsyncIterator[tuple[zart.Client, zart.SyncClient]]:
    """Connect both clients, and have them answered once."""
    with ExitStack() as stack:
        sync = stack.enter_context(zart.connect_sync(server.address, **options))
        async with zart.connect(server.address, **options) as client:
            await client.restart("x")
            await asyncio.to_thread(sync.restart, "x")
            server.asked.clear()
            yield client, sync


CALLS: dict[str, Callable[[Any], Any]] = {
    "change": lambda client: client.restart("x"),
    "start": lambda client: client.start("t", execution_id="x", request_id="mine"),
    "grouped start": lambda client: client.start("t", execution_id="x"),
    "run": lambda client: client.run("t"),
    "result": lambda client: client.handle("x").result(),
}


def asked_by_both(
    both: tuple[zart.Client, zart.SyncClient], calls: Callable[[Any], Any]
) -> list[Awaitable[Any]]:
    """Begin a call of each client."""
    client, sync = both
    return [
        asyncio.ensure_future(calls(client)),
        asyncio.ensure_future(asyncio.to_thread(calls, sync)),
    ]


async def outlast_the_channel(server: Server) -> None:
    """Wait until whoever repeats no more than the channel does has given up, twice."""
    async with zart.connect(server.address) as other:
        impatient = zart.Client(other.channel, repeats=False)
        for _ in range(2):
            with pytest.raises((errors.Unreachable, errors.Unavailable)):
                await impatient.restart("y")


@pytest.mark.parametrize("kind", [NO_DATABASE, DRAINING, None], ids=["database", "drain", "gone"])
async def test_what_is_asked_in_an_outage_is_answered_once_it_is_over(
    server: Server, kind: status_pb2.Status | None
) -> None:
    async with clients(server, timeout=GIVE_UP) as both:
        if kind is None:
            await server.stop()
        server.refuses = kind
        waiting = [task for call in CALLS.values() for task in asked_by_both(both, call)]
        await outlast_the_channel(server)
        server.refuses = None
        if kind is None:
            await server.start()
        await asyncio.gather(*waiting)


async def test_a_repeat_is_the_same_call(server: Server) -> None:
    async with clients(server, timeout=GIVE_UP) as both:
        server.refuses = NO_DATABASE
        waiting = asyncio.gather(*asked_by_both(both, CALLS["change"]))
        await until(lambda: len(server.asked) > 4 * REPEATED)
        server.refuses = None
        assert [each.new_run_number for each in await waiting] == [2, 2]
    asked = {request for _, request, _ in server.asked}
    assert len(asked) == 2
    assert all(admin.RestartRequest.FromString(each).request_id for each in asked)


@pytest.mark.parametrize("call", [CALLS[name] for name in ("change", "start", "grouped start")])
async def test_once_its_time_is_over_it_raises_what_it_failed_with_last(
    server: Server, call: Callable[[Any], Any]
) -> None:
    """As does a start that went out with others, whose time each of them keeps."""
    async with clients(server, timeout=6) as both:
        server.refuses = DRAINING
        waiting = asked_by_both(both, call)
        await until(lambda: len(server.asked) > REPEATED)
        server.refuses = NO_DATABASE
        for each in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(each, errors.StoreUnavailable)
    assert len(server.asked) > 4 * REPEATED


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_where_no_server_ever_was_it_fails_at_once(call: Callable[[Any], Any]) -> None:
    """The address is wrong, perhaps: no time cures that."""
    address, begun = f"127.0.0.1:{free_port()}", time.monotonic()
    async with zart.connect(address, timeout=GIVE_UP) as client:
        with zart.connect_sync(address, timeout=GIVE_UP) as sync:
            told = await asyncio.gather(
                *asked_by_both((client, sync), call), return_exceptions=True
            )
    assert [type(each) for each in told] == [errors.Unreachable, errors.Unreachable]
    assert time.monotonic() - begun < SOON


async def test_who_leases_goes_by_a_pace_of_its_own(server: Server) -> None:
    async with clients(server, timeout=GIVE_UP) as (client, _):
        server.refuses = NO_DATABASE
        with pytest.raises(errors.StoreUnavailable):
            await client.extend_leases("d", [])
    assert len(server.asked) == REPEATED


async def test_who_is_cancelled_meanwhile_is_cancelled(server: Server) -> None:
    async with clients(server, timeout=GIVE_UP) as (client, _):
        server.refuses = NO_DATABASE
        waiting = asyncio.ensure_future(client.restart("x"))
        await until(lambda: len(server.asked) > REPEATED)
        waiting.cancel()
        await asyncio.wait([waiting], timeout=SOON)
        assert waiting.cancelled()


async def test_who_waits_as_the_client_is_closed_is_told(server: Server) -> None:
    async with clients(server, timeout=GIVE_UP) as both:
        server.refuses = NO_DATABASE
        waiting = asked_by_both(both, lambda client: client.restart("x", request_id="mine"))
        await until(lambda: len(server.asked) > 3 * REPEATED)
        await both[0].close()
        await asyncio.to_thread(both[1].close)
        for each in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(each, errors.Unreachable)
            assert (each.message, each.request_id) == ("the client was closed", "mine")


async def test_the_time_is_left_to_a_server_that_it_asks_for(server: Server) -> None:
    asks = status_pb2.Status()
    asks.CopyFrom(NO_DATABASE)
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromSeconds(3)
    asks.details.add().Pack(retry)
    async with clients(server, timeout=GIVE_UP) as (client, _):
        server.refuses = asks
        waiting = asyncio.ensure_future(client.restart("x"))
        await until(lambda: len(server.asked) > REPEATED)
        server.refuses = None
        await waiting
    last, again = server.times("Restart")[REPEATED - 1 : REPEATED + 1]
    assert again - last >= 3
