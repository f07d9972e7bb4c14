"""The dispatcher's stream: beside the calls, moved, broken, called off, and where there is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from dispatching import dispatching, start
from rig import CHAIN, Rig, until_polled
from streaming import completed, lease_request, waiting
from waiting import GIVE_UP, until

import zart
from zart.channel import sync_channel
from zart.dispatcher.arrivals import Arrivals
from zart.dispatcher.in_hand import InHand
from zart.dispatcher.streamed import Streamed
from zart.testing.server import ServerUnderTest, serving
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1 import dispatch_service_pb2_grpc as services


class Client:
    """A stream and what came by it."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.unseen: set[InHand] = set()
        self.late: list[InHand] = []
        too_late = self.late.extend
        calls = Arrivals(channel, self.unseen, 3.0, too_late)
        self.streamed = Streamed(channel, self.unseen, 3.0, too_late, calls)

    async def lease(self, **fields: Any) -> list[InHand]:
        """Lease tasks."""
        return await self.streamed.lease(lease_request(**fields), GIVE_UP)

    async def report(self, task: pb.LeasedTask) -> str:
        """Complete a task; gives the status."""
        request = pb.ReportTasksRequest(dispatcher_id="d", outcomes=[completed(task)])
        response, _ = await self.streamed.report(request, GIVE_UP)
        return pb.ReportStatus.Name(response.results[0].status).removeprefix("REPORT_STATUS_")


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Open a channel for it."""
    with sync_channel(address) as channel:
        yield Client(channel)


async def test_tasks_are_taken_in_hand_and_outcomes_recorded(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.start("x", CHAIN)
    with connected(zart_server.address) as client:
        for step in CHAIN:
            (found,) = await client.lease(wait=waiting(30))
            assert found.task.step_name == step
            assert client.unseen.pop() is found
            assert await client.report(found.task) == "RECORDED"
        assert await client.report(found.task) == "ALREADY_RECORDED"
        with pytest.raises(zart.errors.InvalidField):
            await client.lease(max_tasks=1001)
        assert await client.lease() == []  # on the same stream
    assert await rig.run_status() == "COMPLETED"


async def test_an_old_stream_is_replaced(rig: Rig, zart_database: str) -> None:
    await rig.start("x", CHAIN)
    with (
        serving(zart_database, stream_age=0.2) as server,
        connected(server.address) as client,
    ):
        (found,) = await client.lease()
        first = client.streamed._stream
        assert await client.lease(task="nosuch", wait=waiting(60)) == []  # until the notice
        assert await client.report(found.task) == "RECORDED"
        assert client.streamed._stream is not first


async def test_a_lease_that_is_called_off_leaves_no_task_behind(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    with connected(zart_server.address) as client:
        asking = asyncio.create_task(client.lease(wait=waiting(60)))
        await until_polled(zart_server)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await rig.start("x", CHAIN)
        assert client.late == []
        (found,) = await client.lease(wait=waiting(30))
        assert await client.report(found.task) == "RECORDED"


class Dying(services.DispatchServiceServicer):
    """Reads a request, and ends the stream in one way or other; leases and records by calls."""

    def __init__(self) -> None:
        self.code = grpc.StatusCode.UNAVAILABLE
        self.streams = 0

    async def DispatchTasks(  # noqa: N802 - the proto's name
        self, requests: AsyncIterator[pb.DispatchTasksRequest], context: Any
    ) -> AsyncIterator[pb.DispatchTasksResponse]:
        self.streams += 1
        async for request in requests:
            if self.code is not grpc.StatusCode.OK:
                await context.abort(self.code, "broken")
            results = [pb.ReportResult(status=pb.REPORT_STATUS_ALREADY_RECORDED)]
            yield pb.DispatchTasksResponse(number=request.number + 1)  # nobody's
            yield pb.DispatchTasksResponse(
                number=request.number, reported=pb.ReportTasksResponse(results=results)
            )

    async def ReportTasks(  # noqa: N802 - the proto's name
        self,
        request: pb.ReportTasksRequest,  # noqa: ARG002 - gRPC's
        context: Any,  # noqa: ARG002
    ) -> pb.ReportTasksResponse:
        return pb.ReportTasksResponse(results=[pb.ReportResult(status=pb.REPORT_STATUS_RECORDED)])


async def test_what_breaks_is_told_and_the_next_stream_goes_on(rig: Rig) -> None:
    server, servicer = grpc.aio.server(), Dying()  # type: ignore[abstract]
    services.add_DispatchServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with connected(f"127.0.0.1:{port}") as client:
        with pytest.raises(grpc.RpcError):
            await client.report(pb.LeasedTask())
        servicer.code = grpc.StatusCode.OK
        assert await client.report(pb.LeasedTask()) == "ALREADY_RECORDED"
        assert servicer.streams == 2
        stream = client.streamed._stream
        assert stream is not None
        stream.half_close()
        await until(lambda: not stream.is_open)
        servicer.code = grpc.StatusCode.UNIMPLEMENTED
        for _ in range(2):
            assert await client.report(pb.LeasedTask()) == "RECORDED"
        assert servicer.streams == 3  # calls from then on
    await server.stop(None)


async def test_a_dispatcher_works_over_a_stream(rig: Rig, zart_server: ServerUnderTest) -> None:
    task = zart.Task("t")

    @task.step()
    async def first(_ctx: zart.StepContext) -> int:
        return 1

    @task.step(depends_on=[first])
    def second(ctx: zart.StepContext) -> int:
        return ctx.result_of(first) + 1

    async with dispatching(zart_server, task, stream=True):
        handle = await start(rig, task)
        assert await handle.result(timeout=GIVE_UP) == 2
        ids = [f"x{n}" for n in range(200)]
        await rig.client.batch_start_executions([zart.Start("t", None, i) for i in ids])
        assert await rig.client.handle(ids[-1]).result(timeout=GIVE_UP) == 2
    assert await rig.db.fetchval("SELECT count(*) FROM zart.leases") == 0
