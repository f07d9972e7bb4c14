"""What is leased is kept or given back, whenever whoever asked for it stops to wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from client.no_threads import no_more_threads
from waiting import GIVE_UP, block_until, until

from zart.calls.call import span
from zart.channel import sync_channel
from zart.dispatcher.arrivals import Arrivals
from zart.dispatcher.in_hand import InHand
from zart.dispatcher.pulse import Pulse
from zart.dispatcher.streamed import Streamed
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1 import dispatch_service_pb2_grpc as services


class OneTask(services.DispatchServiceServicer):
    """Leases one task when it is let."""

    def __init__(self) -> None:
        self.asked, self.gate = threading.Event(), threading.Event()

    def LeaseTasks(self, _request: Any, _context: Any) -> pb.LeaseTasksResponse:
        """Lease."""
        self.asked.set()
        self.gate.wait(GIVE_UP)
        task = pb.LeasedTask(task_id="1", timeout=span(60), lease_ttl=span(30))
        return pb.LeaseTasksResponse(tasks=[task])

    def DispatchTasks(
        self, requests: Iterator[pb.DispatchTasksRequest], context: Any
    ) -> Iterator[pb.DispatchTasksResponse]:
        """Answer pings, and lease."""
        for request in requests:
            if request.HasField("ping"):
                yield pb.DispatchTasksResponse(number=request.number, pong=pb.StreamPong())
            else:
                leased = self.LeaseTasks(request.lease, context)
                yield pb.DispatchTasksResponse(number=request.number, leased=leased)


class Asking:
    """Who asks for tasks, and where those are."""

    def __init__(self, server: OneTask, channel: grpc.Channel) -> None:
        self.server = server
        self.unseen: set[InHand] = set()
        self.late: list[InHand] = []
        pulse = Pulse(30.0, in_threads=True)
        self.arrivals = Arrivals(channel, self.unseen, pulse, self.late.extend)
        self.streamed = Streamed(
            channel, self.unseen, pulse, self.late.extend, self.arrivals, patience=GIVE_UP
        )

    async def ask(self) -> asyncio.Task[list[InHand]]:
        """Ask in a task of its own; the call is on its way."""
        asking = asyncio.create_task(self.arrivals.lease(pb.LeaseTasksRequest(), GIVE_UP))
        assert await asyncio.to_thread(self.server.asked.wait, GIVE_UP)
        return asking

    def hold_up_until_it_came(self) -> None:
        """Let the server answer, and the loop do nothing before."""
        self.server.gate.set()
        block_until(lambda: self.unseen)


@pytest.fixture
def asking() -> Iterator[Asking]:
    """Ask a server that has one task."""
    server = grpc.server(ThreadPoolExecutor(1))
    servicer = OneTask()  # type: ignore[abstract]  # it is asked for nothing else
    services.add_DispatchServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with sync_channel(f"127.0.0.1:{port}") as channel:
        yield Asking(servicer, channel)
    servicer.gate.set()
    server.stop(None).wait()


async def test_what_came_is_given_to_who_asked(asking: Asking) -> None:
    task = await asking.ask()
    asking.hold_up_until_it_came()
    assert set(await task) == asking.unseen
    assert asking.late == []


@pytest.mark.parametrize("turns", range(4))
async def test_what_came_for_somebody_who_stops_to_wait_is_handed_over(
    asking: Asking, turns: int
) -> None:
    """The answer is there; between that and whoever asked are a few turns of the loop."""
    task = await asking.ask()
    asking.hold_up_until_it_came()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    came = asking.late if task.cancelled() else task.result()
    assert set(came) == asking.unseen
    assert len(came) == 1


async def test_a_call_that_is_given_up_ends(asking: Asking) -> None:
    task = await asking.ask()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, GIVE_UP)
    assert (asking.late, asking.unseen) == ([], set())


async def test_what_came_by_a_stream_is_found_by_a_loop_that_stood_still_past_the_timeout(
    asking: Asking,
) -> None:
    await until(asking.streamed._proven)
    seconds, asked_at = 0.5, time.monotonic()
    task = asyncio.create_task(asking.streamed.lease(pb.LeaseTasksRequest(), seconds))
    await asyncio.sleep(0)
    asking.hold_up_until_it_came()
    block_until(lambda: time.monotonic() > asked_at + 2 * seconds)
    assert set(await task) == asking.unseen
    assert len(asking.unseen) == 1


async def test_where_there_is_no_thread_for_a_stream_calls_go_on(asking: Asking) -> None:
    first = await asking.ask()  # the channel's thread takes what others bring as well
    with no_more_threads():
        second = asyncio.create_task(asking.streamed.lease(pb.LeaseTasksRequest(), GIVE_UP))
        await asyncio.sleep(0)
        asking.server.gate.set()
        came = [*await first, *await second]
    assert len(came) == 2
    assert set(came) == asking.unseen
    assert asking.streamed._stream is None
