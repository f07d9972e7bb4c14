"""The dispatcher's stream: beside the calls, moved, broken, called off, and where none passes."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from between import Between
from dispatching import dispatching, start
from rig import CHAIN, Rig, until_polled
from streaming import completed, lease_request, waiting
from waiting import GIVE_UP, eventually, until

import zart
from zart.channel import sync_channel
from zart.dispatcher.arrivals import Arrivals
from zart.dispatcher.in_hand import InHand
from zart.dispatcher.pulse import Pulse
from zart.dispatcher.stream import Stream
from zart.dispatcher.streamed import Streamed
from zart.testing.server import ServerUnderTest, serving
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1 import dispatch_service_pb2_grpc as services
from zart_server.api.errors import status_of
from zart_server.domain.errors import StoreUnavailable


class Client:
    """A stream and what came by it."""

    def __init__(self, channel: grpc.Channel, **options: float) -> None:
        self.unseen: set[InHand] = set()
        self.late: list[InHand] = []
        too_late = self.late.extend
        pulse = Pulse(30.0, in_threads=True)
        self.calls = calls = Arrivals(channel, self.unseen, pulse, too_late)
        self.streamed = Streamed(channel, self.unseen, pulse, too_late, calls, **options)

    async def proven(self) -> Stream:
        """Wait until a stream is known to pass."""
        await until(self.streamed._proven)
        stream = self.streamed._stream
        assert stream is not None
        return stream

    async def lease(self, **fields: Any) -> list[InHand]:
        """Lease tasks."""
        return await self.streamed.lease(lease_request(**fields), GIVE_UP)

    async def report(self, task: pb.LeasedTask, times: int = 1, *, apart: bool = False) -> str:
        """Complete a task, so many times in one request; gives the first status."""
        request = pb.ReportTasksRequest(dispatcher_id="d", outcomes=[completed(task)] * times)
        response, _ = await self.streamed.reports[apart](request, GIVE_UP)
        return pb.ReportStatus.Name(response.results[0].status).removeprefix("REPORT_STATUS_")


@contextmanager
def connected(address: str, **options: float) -> Iterator[Client]:
    """Open a channel for it. Its streams have as long to pass as a test has."""
    with sync_channel(address) as channel:
        yield Client(channel, **({"patience": GIVE_UP} | options))


async def test_tasks_are_taken_in_hand_and_outcomes_recorded(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.start("x", CHAIN)
    with connected(zart_server.address) as client:
        stream = await client.proven()
        for step in CHAIN:
            (found,) = await client.lease(wait=waiting(30))
            assert found.task.step_name == step
            assert client.unseen.pop() is found
            assert await client.report(found.task) == "RECORDED"
        assert await client.report(found.task) == "ALREADY_RECORDED"
        with pytest.raises(zart.errors.TooManyItems):
            await client.lease(max_tasks=1001)
        assert await client.lease() == []
        assert await client.proven() is stream
    assert await rig.run_status() == "COMPLETED"


async def test_an_old_stream_is_replaced(rig: Rig, zart_database: str) -> None:
    await rig.start("x", CHAIN)
    with (
        serving(zart_database, stream_age=0.5) as server,
        connected(server.address) as client,
    ):
        first = await client.proven()
        found: list[InHand] = []
        while not found:  # the notice may come at any moment
            found = await client.lease(wait=waiting(30))
        while first.takes_more:
            assert await client.lease(task="nosuch", wait=waiting(60)) == []
        assert await client.report(found[0].task) == "RECORDED"
        assert await client.proven() is not first
        assert first.failure is None


async def test_a_lease_that_is_called_off_leaves_no_task_behind(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    with connected(zart_server.address) as client:
        stream = await client.proven()
        asking = asyncio.create_task(client.lease(wait=waiting(60)))
        await until_polled(zart_server)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await rig.start("x", CHAIN)
        assert client.late == []
        (found,) = await client.lease(wait=waiting(30))  # by a call
        assert await client.report(found.task) == "RECORDED"
        await until(lambda: not stream.is_open)
        assert client.streamed._proven() is None


class Scripted(services.DispatchServiceServicer):
    """Treats a stream in one way or other; records by calls."""

    def __init__(self) -> None:
        self.is_silent = False
        self.knows_pings = True
        self.opens: grpc.StatusCode | None = None  # what a stream is answered with at once
        self.reports: grpc.StatusCode | None = None  # what a report ends it with
        self.refuses_leases = False  # as one that has lost its database
        self.streams = 0
        self.address = ""

    async def DispatchTasks(
        self, requests: AsyncIterator[pb.DispatchTasksRequest], context: Any
    ) -> AsyncIterator[pb.DispatchTasksResponse]:
        self.streams += 1
        if self.opens is grpc.StatusCode.OK:
            return
        if self.opens is not None:
            await context.abort(self.opens, "no streams here")
        async for request in requests:
            answer = pb.DispatchTasksResponse(number=request.number)
            if self.is_silent:
                continue
            if request.HasField("ping"):
                if self.knows_pings:
                    answer.pong.SetInParent()
                else:
                    answer.error.code = grpc.StatusCode.INVALID_ARGUMENT.value[0]
                yield answer
                continue
            if request.HasField("lease"):
                answer.leased.SetInParent()
                if self.refuses_leases:
                    answer.error.CopyFrom(status_of(StoreUnavailable()))
                yield answer
                continue
            if self.reports is not None:
                await context.abort(self.reports, "broken")
            result = pb.ReportResult(status=pb.REPORT_STATUS_ALREADY_RECORDED)
            answer.reported.results.append(result)
            yield pb.DispatchTasksResponse(number=request.number + 1)  # nobody's
            yield answer

    async def LeaseTasks(
        self,
        request: pb.LeaseTasksRequest,  # noqa: ARG002 - gRPC's
        context: Any,  # noqa: ARG002
    ) -> pb.LeaseTasksResponse:
        return pb.LeaseTasksResponse(tasks=[NOTHING])

    async def ReportTasks(
        self,
        request: pb.ReportTasksRequest,  # noqa: ARG002 - gRPC's
        context: Any,  # noqa: ARG002
    ) -> pb.ReportTasksResponse:
        return pb.ReportTasksResponse(results=[pb.ReportResult(status=pb.REPORT_STATUS_RECORDED)])


BY_CALL, BY_STREAM = "RECORDED", "ALREADY_RECORDED"  # what it answers


@asynccontextmanager
async def scripted(**options: float) -> AsyncIterator[tuple[Scripted, Client]]:
    """Serve it, and connect to it."""
    server, servicer = grpc.aio.server(), Scripted()  # type: ignore[abstract]
    services.add_DispatchServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    servicer.address = f"127.0.0.1:{port}"
    with connected(servicer.address, **options) as client:
        yield servicer, client
    await server.stop(None)


NOTHING = pb.LeasedTask()


async def test_a_stream_that_breaks_is_made_up_for_by_a_call_and_replaced() -> None:
    async with scripted() as (server, client):
        await client.proven()
        assert await client.report(NOTHING) == BY_STREAM
        server.reports = grpc.StatusCode.UNAVAILABLE
        assert await client.report(NOTHING) == BY_CALL
        server.reports = None
        await client.proven()
        assert await client.report(NOTHING) == BY_STREAM
        assert server.streams == 2


async def test_a_server_that_has_no_tasks_to_give_for_now_is_left() -> None:
    async with scripted() as (server, client):
        first = await client.proven()
        assert await client.lease() == []
        server.refuses_leases = True
        assert len(await client.lease()) == 1  # by a call, which another server may take
        assert not first.takes_more
        server.refuses_leases = False
        assert await client.proven() is not first
        assert await client.lease() == []


async def test_a_server_that_knows_no_pings_has_a_stream_all_the_same() -> None:
    async with scripted() as (server, client):
        server.knows_pings = False
        await client.proven()
        assert await client.report(NOTHING) == BY_STREAM


async def test_what_comes_with_many_goes_by_a_call() -> None:
    async with scripted() as (_, client):
        await client.proven()
        assert await client.report(NOTHING, 51) == BY_CALL
        assert await client.report(NOTHING, 50) == BY_STREAM


@pytest.mark.parametrize("code", [None, *grpc.StatusCode])
async def test_where_streams_do_not_pass_calls_are_made_without_a_wait(
    code: grpc.StatusCode | None, caplog: pytest.LogCaptureFixture
) -> None:
    """``code`` None: it is held back, and nobody is told."""
    caplog.set_level(logging.INFO, "zart.dispatcher")
    options = {"patience": 0.0} if code is None else {}
    async with scripted(**options) as (server, client):
        server.opens, server.is_silent = code, code is None

        async def is_given_up() -> bool:
            assert await client.report(NOTHING) == BY_CALL
            return "go by calls for a while" in caplog.text

        await eventually(is_given_up)
        if code is grpc.StatusCode.UNIMPLEMENTED:
            assert server.streams == 1
        elif code is not None:  # it is tried again now and then
            server.opens = None
            await client.proven()
            assert await client.report(NOTHING) == BY_STREAM
        assert caplog.text.count("go by calls for a while") == 1


@pytest.mark.parametrize("options", [{}, {"stream": False}], ids=["by default", "off"])
async def test_a_dispatcher_works_over_a_stream_unless_it_is_told_not_to(
    rig: Rig, zart_server: ServerUnderTest, options: dict[str, bool]
) -> None:
    task = zart.Task("t")

    @task.step()
    async def first(_ctx: zart.StepContext) -> int:
        await until(lambda: proxy.passed["Ping"] or options)
        return 1

    @task.step(depends_on=[first])
    def second(ctx: zart.StepContext) -> int:
        return ctx.result_of(first) + 1

    async with (
        Between(zart_server.address) as proxy,
        dispatching(zart_server, task, address=proxy.address, **options),
    ):
        handle = await start(rig, task)
        assert await handle.result(timeout=GIVE_UP) == 2
        rounds = itertools.count()

        async def has_reported_so() -> bool:
            ids = [f"x{next(rounds)}-{n}" for n in range(200)]
            await rig.client.batch_start_executions([zart.Start("t", None, i) for i in ids])
            assert await rig.client.handle(ids[-1]).result(timeout=GIVE_UP) == 2
            return bool(options) or proxy.streamed["ReportTasks"] > 0

        await eventually(has_reported_so)
    assert (proxy.streamed["ReportTasks"] > 0) == (not options)

    async def none_is_left() -> bool:
        return not await rig.db.fetchval("SELECT EXISTS (SELECT FROM zart.leases)")

    await eventually(none_is_left)
