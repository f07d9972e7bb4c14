"""Keeps the leases of held tasks, also of those that wait to be reported."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

import grpc

from zart.dispatcher.held import Held, seconds_of
from zart.errors import from_call
from zart.v1 import dispatch_service_pb2 as pb

if TYPE_CHECKING:  # only the stub file has this name
    from zart.v1.dispatch_service_pb2_grpc import DispatchServiceAsyncStub

_log = logging.getLogger(__name__)
_BATCH = 1000
_TIMEOUT = 5.0


class LeaseKeeper:
    """Extends each lease when a third of it has passed; a lost one stops its handler.

    What has not begun by then goes back, by ``give_back``, which gives what it takes: slow tasks
    are before it here, and another dispatcher may have a slot.
    """

    def __init__(
        self,
        stub: DispatchServiceAsyncStub,
        dispatcher_id: str,
        held: Collection[Held],
        lease: float,
        give_back: Callable[[Iterable[Held]], set[Held]],
    ) -> None:
        self._stub = stub
        self._dispatcher_id = dispatcher_id
        self._held = held
        self._give_back = give_back
        self._tick = min(1.0, lease / 15)

    async def run(self) -> None:
        """Extend leases until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._tick)
            now = loop.time()
            passed = {held for held in self._held if held.extend_at <= now and not held.lost}
            due = list(passed - self._give_back(held for held in passed if not held.begun))
            for begin in range(0, len(due), _BATCH):
                await self._extend(due[begin : begin + _BATCH])
            for held in [held for held in self._held if held.expires_at <= loop.time()]:
                # Nobody answered for a whole lease: another dispatcher may have the task by now.
                self._lose(held, "no server could be reached to extend it")

    async def _extend(self, due: list[Held]) -> None:
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        request = pb.ExtendLeasesRequest(
            dispatcher_id=self._dispatcher_id, leases=[held.lease for held in due]
        )
        try:
            response = await self._stub.ExtendLeases(request, timeout=_TIMEOUT)
        except grpc.RpcError as error:
            _log.warning("leases were not extended, a repeat follows: %s", from_call(error))
            return
        for held, result in zip(due, response.results, strict=True):
            if result.extended:
                held.extended(seconds_of(result.lease_ttl), asked_at)
                held.detach()  # it lasts longer than others of its batch
            else:
                self._lose(held, "the server gave it up")

    @staticmethod
    def _lose(held: Held, why: str) -> None:
        if held.lost or held.ended:
            return  # what is on its way to be recorded is judged there, by its token
        _log.warning(
            "%s/%s: the lease is lost, %s", held.context.run_id, held.context.step_name, why
        )
        held.lose()
