"""Asks for tasks: as many as there is room for, in few calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc

from zart.calls.call import span
from zart.dispatcher.backoff import Backoff
from zart.dispatcher.held import Held
from zart.dispatcher.pace import PATIENCE
from zart.dispatcher.stopping import unless
from zart.errors import from_call
from zart.tasks import Task
from zart.v1 import dispatch_service_pb2 as pb

if TYPE_CHECKING:  # only the stub file has this name
    from zart.v1.dispatch_service_pb2_grpc import DispatchServiceAsyncStub

_log = logging.getLogger(__name__)
_POLL = 30.0  # seconds of one long poll
_TIMEOUT = 10.0  # seconds on top


class Leasing:
    """Leases tasks while there is room.

    ``room`` tells for how many, given the time now and that of the last answer; ``accept`` takes
    what was leased.
    """

    def __init__(
        self,
        stub: DispatchServiceAsyncStub,
        dispatcher_id: str,
        tasks: Iterable[Task],
        lease: float,
        room: Callable[[float, float], int],
        accept: Callable[[list[Held]], None],
    ) -> None:
        self._stub = stub
        self._dispatcher_id = dispatcher_id
        self._tasks = list(tasks)
        self._lease = lease
        self._room = room
        self._accept = accept
        self._look = asyncio.Event()

    def look(self) -> None:
        """Look whether there is room now."""
        self._look.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Lease until ``stop`` is set and looked for."""
        loop = asyncio.get_running_loop()
        request = pb.LeaseTasksRequest(
            dispatcher_id=self._dispatcher_id,
            task_names=[task.name for task in self._tasks],
            handlers=sorted({name for task in self._tasks for name in task.steps}),
            wait=span(_POLL),
            lease_duration=span(self._lease),
        )
        backoff = Backoff()
        answered_at = 0.0
        while not stop.is_set():
            request.max_tasks = self._room(loop.time(), answered_at)
            if not request.max_tasks:
                self._look.clear()
                await self._look.wait()
                continue
            asked_at = loop.time()
            try:
                response = await self._stub.LeaseTasks(request, timeout=_POLL + _TIMEOUT)
            except grpc.RpcError as error:
                _log.warning("nothing was leased, a repeat follows: %s", from_call(error))
                await unless(stop, backoff.wait())
                continue
            backoff.reset()
            answered_at = loop.time()
            loop.call_later(PATIENCE, self.look)
            self._accept(self._held(response, asked_at, answered_at))

    def _held(self, response: pb.LeaseTasksResponse, asked_at: float, now: float) -> list[Held]:
        # A long poll waits for most of its time: the lease is younger than the call.
        asked_at = max(asked_at, now - self._lease / 10)
        leased_at = datetime.now(UTC)
        return [Held.of(task, now, asked_at, leased_at) for task in response.tasks]
