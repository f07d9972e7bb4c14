"""The dispatcher service: leasing, slots, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import uuid
from collections import deque
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration

from zart.calls import dispatch
from zart.channel import aio_channel
from zart.client import Client
from zart.dispatcher.backoff import Backoff
from zart.dispatcher.handlers import failed_with, released, run_async, run_in_thread
from zart.dispatcher.held import Held
from zart.dispatcher.leases import LeaseKeeper
from zart.dispatcher.pace import Pace
from zart.dispatcher.reporting import Reporter
from zart.errors import Unavailable, Unreachable, from_call
from zart.tasks import Step, Task
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub

_log = logging.getLogger(__name__)
_POLL = 30.0  # seconds of one long poll
_LAST_POLL = 0.25  # seconds that a poll may go on when the dispatcher stops
_CALL_TIMEOUT = 10.0
_RESULTS_AT_ONCE = 8  # results of up to 1 MiB in a message of 16
_UNKNOWN_HANDLER_DELAY = 5.0
_LEASES_AT_ONCE = 1000


class Dispatcher:
    """Runs the steps of tasks. ``await Dispatcher(tasks).run(stop)`` until ``stop`` is set.

    At most ``concurrency`` handlers run at once; async ones as asyncio tasks, plain ones in
    threads. ``lease`` and ``grace`` are seconds: how long a lease lasts unless it is extended,
    and how long running handlers have to end when the dispatcher stops; what does not is given
    back. A step may run more than once.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        *,
        address: str | None = None,
        channel: grpc.aio.Channel | None = None,
        concurrency: int = 16,
        lease: float = 30.0,
        grace: float = 10.0,
        dispatcher_id: str | None = None,
    ) -> None:
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        self.tasks = {task.name: task for task in tasks}
        self.dispatcher_id = (
            dispatcher_id or f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
        )
        self._address = address
        self._given_channel = channel
        self._concurrency = concurrency
        self._lease = lease
        self._grace = grace
        self._held: set[Held] = set()
        self._waiting: deque[Held] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._pace = Pace(concurrency)
        self._threads = ThreadPoolExecutor(concurrency, "zart-step")

    async def run(self, stop: asyncio.Event) -> None:
        """Run until ``stop`` is set, then finish or give back what is held.

        A server that cannot be reached is tried for ever. Raises Refused where the server does
        not take a task definition.
        """
        channel = self._given_channel or aio_channel(self._address)
        try:
            await self._run(channel, stop)
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)
            if self._given_channel is None:
                await channel.close()

    async def _run(self, channel: grpc.aio.Channel, stop: asyncio.Event) -> None:
        self._stub = DispatchServiceStub(channel)
        if not await self._register(channel, stop):
            return
        self._reporter = Reporter(self._stub, self.dispatcher_id, self._recorded)
        keeper = LeaseKeeper(self._stub, self.dispatcher_id, self._held, self._lease)
        background = [
            asyncio.create_task(self._reporter.run(), name="reporter"),
            asyncio.create_task(keeper.run(), name="lease keeper"),
        ]
        _log.info("dispatcher %s runs %s", self.dispatcher_id, ", ".join(self.tasks))
        try:
            await self._lease_until(stop, background)
            await self._wind_down()
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)

    async def _register(self, channel: grpc.aio.Channel, stop: asyncio.Event) -> bool:
        client = Client(channel, timeout=_CALL_TIMEOUT)
        backoff = Backoff()
        for task in self.tasks.values():
            while not stop.is_set():
                try:
                    await client.send(dispatch.register_task(task.name, task.specs))
                    break
                except (Unreachable, Unavailable) as error:
                    _log.warning("no server yet, a repeat follows: %s", error)
                    await _unless(stop, backoff.wait())
        return not stop.is_set()

    async def _lease_until(self, stop: asyncio.Event, background: list[asyncio.Task[None]]) -> None:
        """Lease while there is room; ends when ``stop`` is set or a background task failed."""
        leasing = asyncio.create_task(self._lease_loop(stop), name="leasing")
        stopping = asyncio.create_task(stop.wait())
        ended, _ = await asyncio.wait(
            {leasing, stopping, *background}, return_when=asyncio.FIRST_COMPLETED
        )
        # A call that finds tasks answers at once: to be let finish, lest its leases be lost.
        # One that waits has found none, and the server takes back what it could not hand over.
        stop.set()
        self._room.set()
        await asyncio.wait({leasing}, timeout=_LAST_POLL)
        leasing.cancel()
        stopping.cancel()
        await asyncio.gather(leasing, stopping, return_exceptions=True)
        for task in ended - {stopping}:
            task.result()

    async def _lease_loop(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        request = pb.LeaseTasksRequest(
            dispatcher_id=self.dispatcher_id,
            task_names=self.tasks,
            handlers=sorted({name for task in self.tasks.values() for name in task.steps}),
            wait=Duration(seconds=int(_POLL)),
        )
        request.lease_duration.FromTimedelta(timedelta(seconds=self._lease))
        backoff = Backoff()
        while not stop.is_set():
            request.max_tasks = min(self._free(), _LEASES_AT_ONCE)
            if request.max_tasks < self._pace.worth_asking():
                self._room.clear()
                await self._room.wait()
                continue
            asked_at = loop.time()
            try:
                response = await self._stub.LeaseTasks(request, timeout=_POLL + _CALL_TIMEOUT)
            except grpc.RpcError as error:
                _log.warning("nothing was leased, a repeat follows: %s", from_call(error))
                await _unless(stop, backoff.wait())
                continue
            backoff.reset()
            now = loop.time()
            # A long poll waits for most of its time: the lease is younger than the call.
            asked_at = max(asked_at, now - self._lease / 10)
            for task in response.tasks:
                self._accept(Held.of(task, now, asked_at), stopping=stop.is_set())

    def _free(self) -> int:
        """How many tasks may be leased: free slots, and some ahead where handlers are quick."""
        return self._concurrency + self._pace.ahead() - len(self._running) - len(self._waiting)

    def _accept(self, held: Held, *, stopping: bool) -> None:
        self._held.add(held)
        if self._step_of(held) is None:  # the handler of another of its tasks, not of this one
            self._reporter.report(held, released(held, _UNKNOWN_HANDLER_DELAY))
        elif stopping:
            self._reporter.report(held, released(held))
        else:
            self._waiting.append(held)
            self._fill_slots()

    def _step_of(self, held: Held) -> Step[Any, Any] | None:
        return self.tasks[held.task.task_name].steps.get(held.task.handler)

    def _fill_slots(self) -> None:
        while self._waiting and len(self._running) < self._concurrency:
            held = self._waiting.popleft()
            if held.lost:
                self._held.discard(held)
                continue
            held.running = asyncio.create_task(self._run_step(held, self._step_of(held)))
            self._running.add(held.running)
            held.running.add_done_callback(self._slot_is_free)

    def _slot_is_free(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._fill_slots()
        self._room.set()
        if not task.cancelled() and task.exception() is not None:
            _log.error("a step ended in the dispatcher's own error", exc_info=task.exception())

    async def _run_step(self, held: Held, step: Step[Any, Any] | None) -> None:
        assert step is not None  # noqa: S101 - only those with a handler wait for a slot
        begun = asyncio.get_running_loop().time()
        if held.task.upstream_omitted and not await self._fetch_results(held):
            return
        if step.is_async:
            outcome = await run_async(held, lambda: step.function(held.context))
            if outcome is not None:
                self._reporter.report(held, outcome)
        else:
            await run_in_thread(
                held,
                step.function,
                self._threads,
                lambda outcome: self._reporter.report(held, outcome),
            )
        if held.lost:
            self._held.discard(held)
        self._pace.took(asyncio.get_running_loop().time() - begun)

    async def _fetch_results(self, held: Held) -> bool:
        """Fetch the results that were left out of the lease; what fails is a failed attempt."""
        names = list(held.task.upstream_omitted)
        try:
            for begin in range(0, len(names), _RESULTS_AT_ONCE):
                request = pb.GetStepResultsRequest(
                    task_id=held.task.task_id,
                    lease_token=held.task.lease_token,
                    step_names=names[begin : begin + _RESULTS_AT_ONCE],
                )
                response = await self._stub.GetStepResults(request, timeout=_CALL_TIMEOUT)
                held.add_results(response.results)
        except grpc.RpcError as error:
            self._reporter.report(held, failed_with(held, from_call(error)))
            return False
        return True

    def _recorded(self, held: Held) -> None:
        self._held.discard(held)

    async def _wind_down(self) -> None:
        """Give back what has not begun, let the rest finish within the grace period, then too."""
        while self._waiting:
            held = self._waiting.popleft()
            self._reporter.report(held, released(held))
        if self._running:
            _log.info("%d steps have %g s to finish", len(self._running), self._grace)
            await asyncio.wait(self._running, timeout=self._grace)
        for held in [held for held in self._held if not held.ended]:
            self._reporter.report(held, released(held))
            held.lose()
        try:
            async with asyncio.timeout(_CALL_TIMEOUT):
                await self._reporter.flush()
        except TimeoutError:
            _log.warning("the server could not be told; %d leases expire", len(self._held))


async def _unless(stop: asyncio.Event, pause: Coroutine[Any, Any, None]) -> None:
    """Wait, but not longer than until ``stop`` is set."""
    waiting = asyncio.create_task(pause)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    stopping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
