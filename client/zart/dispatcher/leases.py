"""Keeps the leases of held tasks, also of those that wait to be reported.

From a thread of its own, over a channel of its own: a handler that holds up the event loop costs
neither its own lease nor those of others.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

import grpc

from zart.dispatcher.held import Held, seconds_of
from zart.dispatcher.standstill import Standstill
from zart.dispatcher.trouble import Trouble
from zart.errors import from_call
from zart.tracebacks import places_of
from zart.v1 import dispatch_service_pb2 as pb

_log = logging.getLogger(__name__)
_BATCH = 1000
_TIMEOUT = 5.0
_TICKS_TO_GIVE_BACK = 3  # that the event loop has, before the lease is extended after all

Extend = Callable[[pb.ExtendLeasesRequest, float], pb.ExtendLeasesResponse]
"""Sends the call from a thread and waits for its answer, so many seconds. Raises RpcError."""


class LeaseKeeper:
    """Extends each lease when a third of it has passed; a lost one stops its handler.

    What has not begun by then goes back, by ``give_back``: slow tasks are before it here, and
    another dispatcher may have a slot.
    """

    def __init__(
        self,
        extend: Extend,
        dispatcher_id: str,
        held: AbstractSet[Held],
        unseen: AbstractSet[Held],
        lease: float,
        give_back: Callable[[Iterable[Held]], object],
    ) -> None:
        self._extend_leases = extend
        self._dispatcher_id = dispatcher_id
        self._held = held
        self._unseen = unseen  # what has arrived, and the loop does not know yet
        self._give_back = give_back
        self._tick = min(1.0, lease / 15)
        self._ended = threading.Event()
        self._trouble = Trouble(_log, "leases are not extended")

    async def run(self) -> None:
        """Keep leases until cancelled."""
        self._loop = asyncio.get_running_loop()
        self._standstill = Standstill(self._loop, self._held)
        thread = threading.Thread(target=self._run, name="zart-leases", daemon=True)
        thread.start()
        try:
            while True:
                await asyncio.sleep(self._tick)
                self._give_back_what_waits()
        finally:
            self._ended.set()

    def _give_back_what_waits(self) -> None:
        now = time.monotonic()
        late = [held for held in self._held if held.extend_at <= now and not held.begun]
        if late:
            self._give_back(late)

    def _run(self) -> None:
        """Keep leases; in the thread."""
        while not self._ended.wait(self._tick):
            try:
                self._standstill.look()
                self._keep()
            except Exception as error:  # noqa: BLE001 - told; it must go on
                if not self._ended.is_set():
                    _log.error("leases could not be kept, a repeat follows: %s", places_of(error))

    def _keep(self) -> None:
        now = time.monotonic()
        # A copy is made at once, whatever the loop does to the set meanwhile.
        due = [held for held in self._all() if self._is_due(held, now)]
        for begin in range(0, len(due), _BATCH):
            self._extend(due[begin : begin + _BATCH])
        now = time.monotonic()
        silent = [h for h in self._all() if h.expires_at <= now and not h.lost]
        if silent:
            # Nobody answered for a whole lease: another dispatcher may have the task by now.
            self._tell(self._lose, silent, "no server could be reached to extend it")

    def _all(self) -> frozenset[Held]:
        # What arrives leaves the one set only for the other, a moment later.
        return frozenset(self._unseen) | frozenset(self._held)

    def _is_due(self, held: Held, now: float) -> bool:
        patience = 0.0 if held.begun or held.ended else _TICKS_TO_GIVE_BACK * self._tick
        return held.extend_at + patience <= now and not held.lost

    def _extend(self, due: list[Held]) -> None:
        asked_at = time.monotonic()
        request = pb.ExtendLeasesRequest(
            dispatcher_id=self._dispatcher_id, leases=[held.lease for held in due]
        )
        try:
            response = self._extend_leases(request, _TIMEOUT)
        except grpc.RpcError as error:
            self._trouble.met(from_call(error))
            return
        if len(response.results) != len(due):  # not from a server of ours
            self._trouble.met(f"{len(response.results)} results for {len(due)}")
            return
        self._trouble.over()
        extended, lost = [], []
        for held, result in zip(due, response.results, strict=True):
            if result.extended:
                held.extended(seconds_of(result.lease_ttl), asked_at)
                extended.append(held)
            else:
                lost.append(held)
        self._tell(self._lose, lost, "the server gave it up")
        self._tell(_detach, extended)

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        """Do something in the event loop, whose the handlers are."""
        if not self._ended.is_set():
            self._loop.call_soon_threadsafe(what, *arguments)

    @staticmethod
    def _lose(lost: Iterable[Held], why: str) -> None:
        for held in lost:
            if held.lost or held.ended:
                continue  # what is on its way to be recorded is judged there, by its token
            _log.warning(
                "%s/%s: the lease is lost, %s", held.context.run_id, held.context.step_name, why
            )
            held.lose()


def _detach(extended: Iterable[Held]) -> None:
    for held in extended:
        held.detach()  # it lasts longer than others of its batch
