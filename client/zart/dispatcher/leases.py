"""Extends the leases of tasks in hand, also of tasks whose outcome waits to be reported.

It has a thread and a channel of its own: a handler that blocks the event loop costs neither its own
lease nor those of other tasks.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

import grpc

from zart.dispatcher import lease_clock
from zart.dispatcher.attempt_fields import fields_of
from zart.dispatcher.in_hand import InHand, seconds_of
from zart.dispatcher.log import Log
from zart.dispatcher.pulse import Pulse
from zart.dispatcher.standstill import Standstill
from zart.dispatcher.trouble import Trouble
from zart.errors import from_call
from zart.tracebacks import locations_of
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub

if TYPE_CHECKING:  # only the stub file has this name
    from zart.v1.dispatch_service_pb2_grpc import DispatchServiceAsyncStub

_log = Log(__name__)
_BATCH = 1000
_TIMEOUT = 5.0  # for a call; of a short lease a quarter, so that a second call may still extend it
_LEAST = 0.5  # seconds for a call, however short the lease: a busy server takes some tenths
_BLOCKED = 10.0  # seconds more, for a loop that is busy
_AT_ONCE = 1.0  # seconds: an outcome that is not recorded by then waits for something
_TICKS_TO_GIVE_BACK = (
    3  # the event loop has so long to give a task back; then its lease is extended
)

Extend = Callable[[pb.ExtendLeasesRequest, float], pb.ExtendLeasesResponse]
"""Sends the call from a thread and waits for its answer, with a timeout. Raises RpcError."""


class LeaseKeeper:
    """Extends each lease when a third of it has passed, and stops the handler of a lost one.

    A task that has not begun by then is given back, by ``give_back``: slow tasks are before it
    here, and another dispatcher may have a free slot. It has ``pulse`` beat, by which leases are
    dated.
    """

    def __init__(
        self,
        extend: Extend,
        dispatcher_id: str,
        in_hand: AbstractSet[InHand],
        unseen: AbstractSet[InHand],
        lease: float,
        pulse: Pulse,
        give_back: Callable[[Iterable[InHand]], object],
    ) -> None:
        self._extend_leases = extend
        self._dispatcher_id = dispatcher_id
        self._in_hand = in_hand
        self._unseen = unseen  # tasks that have arrived, and that the loop does not know of yet
        self._give_back = give_back
        self._patience = max(_LEAST, min(_TIMEOUT, lease / 4))
        self._pulse = pulse
        self._tick = pulse.apart
        self._ended = threading.Event()
        self._trouble = Trouble(_log, "leases are not extended")
        self._standstill: Standstill | None = None

    def blocked_seconds(self) -> float:
        """Return for how long the event loop was blocked, a second or more at a time."""
        return 0.0 if self._standstill is None else self._standstill.seconds()

    def held_up_by(self) -> str:
        """Return what holds the event loop up, for a second or more by now; empty: nothing."""
        return "" if self._standstill is None else self._standstill.who()

    async def run(self) -> None:
        """Extend leases until cancelled."""
        self._loop = asyncio.get_running_loop()
        standstill = self._standstill = Standstill(self._loop, self._in_hand)
        thread = threading.Thread(
            target=self._run, args=(standstill,), name="zart-leases", daemon=True
        )
        thread.start()
        try:
            while True:
                await asyncio.sleep(self._tick)
                self._pulse.beat_in_loop()
                self._give_back_what_waits()
                self._drop_inputs()
        finally:
            self._ended.set()

    def _give_back_what_waits(self) -> None:
        now = lease_clock.now()
        late = [each for each in self._in_hand if each.extend_at <= now and not each.begun]
        if late:
            self._give_back(late)

    def _drop_inputs(self) -> None:
        """Keep no inputs for outcomes that wait; of those that do not it would be a waste."""
        before = time.monotonic() - _AT_ONCE
        for each in self._in_hand:
            if each.has_inputs and each.ended_at < before and each.is_over:
                each.drop_inputs()

    def _run(self, standstill: Standstill) -> None:
        """Extend leases until the end; runs in the thread."""
        while not self._ended.wait(self._tick):
            self._pulse.beat_in_thread()
            try:
                standstill.look()
                self._keep()
            except Exception as error:  # noqa: BLE001 - logged; it must go on
                if not self._ended.is_set():
                    _log.error(
                        "leases could not be kept, a repeat follows: %s", locations_of(error)
                    )

    def _keep(self) -> None:
        now = lease_clock.now()
        # The copy is atomic: the loop may change the set meanwhile.
        due = [each for each in self._all() if self._is_due(each, now)]
        given_up: set[InHand] = set()
        for begin in range(0, len(due), _BATCH):
            batch = [each for each in due[begin : begin + _BATCH] if each not in given_up]
            if batch and not self._extend(batch):
                # The next call may be as long in vain. What is lost by then is not extended by it:
                # nobody would run it, nor anybody else.
                given_up |= self._lose_what_is_over()
        self._lose_what_is_over()

    def _lose_what_is_over(self) -> set[InHand]:
        """Lose what no server has extended in time; return that, but for what has ended."""
        now = lease_clock.now()
        silent = [h for h in self._all() if h.expires_at <= now and not h.lost]
        if silent:
            # No server answered for a whole lease: another dispatcher may have the task by now.
            self._tell(self._lose_silent, silent)
        return {each for each in silent if not each.ended}

    def _all(self) -> frozenset[InHand]:
        # A task that arrives is moved from the one set to the other, a moment later.
        return frozenset(self._unseen) | frozenset(self._in_hand)

    def _is_due(self, in_hand: InHand, now: float) -> bool:
        patience = 0.0 if in_hand.begun or in_hand.ended else _TICKS_TO_GIVE_BACK * self._tick
        return in_hand.extend_at + patience <= now and not in_hand.lost

    def _extend(self, due: list[InHand]) -> bool:
        """Extend leases in one call; return whether a server answered it."""
        asked_at = lease_clock.now()
        request = pb.ExtendLeasesRequest(
            dispatcher_id=self._dispatcher_id, leases=[each.lease for each in due]
        )
        try:
            response = self._extend_leases(request, self._patience)
        except grpc.RpcError as error:
            self._trouble.met(from_call(error))
            return False
        if len(response.results) != len(due):  # not a zart server, or a proxy cut the answer
            self._trouble.met(f"{len(response.results)} results for {len(due)}")
            return False
        self._trouble.over()
        extended, lost = [], []
        for in_hand, result in zip(due, response.results, strict=True):
            if result.extended:
                in_hand.extended(seconds_of(result.lease_ttl), asked_at)
                extended.append(in_hand)
            else:
                lost.append(in_hand)
        self._tell(self._lose, lost, "the server gave it up")
        self._tell(_give_up, [each for each in lost if each.ended])
        self._tell(_detach, extended)
        return True

    def _tell(self, what: Callable[..., None], *arguments: object) -> None:
        """Call a function in the event loop, to which the handlers belong."""
        if not self._ended.is_set():
            self._loop.call_soon_threadsafe(what, *arguments)

    @staticmethod
    def _lose_silent(silent: Iterable[InHand]) -> None:
        # A loop that stood still hears of it late: a server may have extended some meanwhile.
        now = lease_clock.now()
        over = [each for each in silent if each.expires_at <= now]
        LeaseKeeper._lose(over, "no server could be reached to extend it")

    @staticmethod
    def _lose(lost: Iterable[InHand], why: str) -> None:
        for in_hand in lost:
            if in_hand.lost or in_hand.ended:
                continue  # an outcome on its way is judged by the server, by its token
            in_hand.lose()
            where = in_hand.context.run_id, in_hand.context.step_name
            told = "%s/%s: the lease is lost, %s"
            _log.warning(told, *where, why, extra=fields_of(in_hand))


def _give_up(lost: Iterable[InHand]) -> None:
    for in_hand in lost:
        in_hand.given_up = True  # the reporter drops its outcome if nothing lets it through


def _detach(extended: Iterable[InHand]) -> None:
    for in_hand in extended:
        in_hand.detach()  # it outlives the other tasks of its answer


def extend_by(channel: grpc.Channel) -> Extend:
    """Return what extends leases through a channel of its own, whatever the loop is busy with."""
    stub = DispatchServiceStub(channel)
    return lambda request, timeout: stub.ExtendLeases(request, timeout=timeout)


def extend_in_the_loop(stub: DispatchServiceAsyncStub) -> Extend:
    """Return what extends leases in the running loop, if the loop's channel is the only one."""
    loop = asyncio.get_running_loop()

    async def call(request: pb.ExtendLeasesRequest, timeout: float) -> pb.ExtendLeasesResponse:
        response: pb.ExtendLeasesResponse = await stub.ExtendLeases(request, timeout=timeout)
        return response

    return lambda request, timeout: asyncio.run_coroutine_threadsafe(
        call(request, timeout), loop
    ).result(timeout + _BLOCKED)
