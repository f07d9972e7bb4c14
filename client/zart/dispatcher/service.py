"""The dispatcher: its parts, its start and its orderly end."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Callable, Iterable

import grpc
import grpc.aio

from zart.channel import aio_channel, keepalive_of, sync_channel
from zart.client import Client
from zart.closing import close_channel
from zart.credentials import Credentials
from zart.dispatcher import lease_clock
from zart.dispatcher.attempt_fields import fields_of
from zart.dispatcher.attempt_trace import end_span
from zart.dispatcher.attempts import Attempts
from zart.dispatcher.eager_dispatch import EagerDispatch
from zart.dispatcher.failures import log_failure
from zart.dispatcher.figures import Figures, outcomes_of
from zart.dispatcher.in_hand import InHand
from zart.dispatcher.leases import LeaseKeeper, extend_by, extend_in_the_loop
from zart.dispatcher.leasing import Leasing, refuse_options
from zart.dispatcher.log import Log
from zart.dispatcher.outcomes import lost, released
from zart.dispatcher.pace import Pace
from zart.dispatcher.pulse import Pulse
from zart.dispatcher.readiness import Readiness
from zart.dispatcher.registering import register
from zart.dispatcher.reporting import Reporter
from zart.dispatcher.room import Room
from zart.dispatcher.slots import Slots
from zart.dispatcher.streamed import ways
from zart.dispatcher.threads import Threads
from zart.tasks import Task
from zart.tracebacks import locations_of
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from zart.version import installed_version

_log = Log(__name__)
_LAST_POLL = 0.25  # seconds for which a poll may go on when the dispatcher stops
_CALL_TIMEOUT = 10.0


class Dispatcher:
    """Runs the steps of tasks. ``await Dispatcher(tasks).run(stop)`` until ``stop`` is set.

    At most ``concurrency`` handlers run at once; async ones as asyncio tasks, plain ones in
    threads. ``lease``: the seconds (1 to 3600) that a lease lasts unless extended. ``grace``: the
    seconds that running handlers have to end when it stops; then their attempts are lost: they may
    have had their effect, count, and are repeated, unless the step runs ``once``. Async ones are
    cancelled then, and have a second to clean up. ``results_mib``: how many MiB of results of the
    steps that it depends on each attempt may need. ``stream``: lease and report over one stream,
    where it passes and no ``channel`` is given. ``keepalive`` is as in ``zart.connect``. A step may
    run more than once. ``on_readiness`` is called in the event loop: with True once the tasks are
    registered and when the server answers again, with False when it does not and when the
    dispatcher stops.

    Threads lease tasks, extend leases and report outcomes, over a connection of their own. If a
    ``channel`` is given, address and credentials are not used and it is the only connection: then a
    handler that blocks the event loop costs leases.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        *,
        address: str | None = None,
        channel: grpc.aio.Channel | None = None,
        credentials: Credentials | None = None,
        concurrency: int = 16,
        lease: float = 30.0,
        grace: float = 10.0,
        results_mib: int = 256,
        dispatcher_id: str | None = None,
        keepalive: float | None = None,
        stream: bool = True,
        on_readiness: Callable[[bool], None] | None = None,
    ) -> None:
        given = list(tasks)
        refuse_options(given, concurrency, lease, dispatcher_id, results_mib)
        self.tasks = {task.name: task for task in given}
        self.dispatcher_id = (
            dispatcher_id or f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
        )
        self._address = address
        self._given_channel = channel
        self._credentials = credentials
        self._keepalive = keepalive_of(keepalive)
        self._streams = stream
        self._concurrency = concurrency
        self._lease = lease
        self._grace = grace
        self._results_bytes = results_mib * 1024 * 1024
        self._on_readiness = on_readiness
        self._in_hand: set[InHand] = set()
        self._unseen: set[InHand] = set()
        self._parts: tuple[Slots, LeaseKeeper, Reporter] | None = None  # while it leases
        self._is_running = False

    def figures(self) -> Figures:
        """Return what it does at this moment; from any thread."""
        parts = self._parts  # which another thread may end
        if parts is None:
            return Figures(self._concurrency, is_ready=False)
        slots, keeper, reporter = parts
        outcomes = outcomes_of(reporter.unanswered())
        ahead = slots.waiting + len(self._unseen)
        is_ready, blocked = self._readiness.can_lease, keeper.blocked_seconds()
        return Figures(self._concurrency, is_ready, slots.running, ahead, *outcomes, blocked)

    def held_up_by(self) -> str:
        """Return what holds its event loop up, for a second or more by now; from any thread.

        A step and its line, where it is one; empty: nothing.
        """
        parts = self._parts
        return "" if parts is None else parts[1].held_up_by()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until ``stop`` is set, then finish the tasks in hand; what has not begun goes back.

        A server that cannot be reached, or that refuses the credentials, is tried for ever, also
        where no thread can be started for a call. Raises Refused if the server says that a task
        definition is wrong, and ClientClosed if the ``channel`` that was given is closed at its
        start. If this is cancelled, or raises what ``on_readiness`` does, all is broken off:
        handlers are cancelled, with a second to clean up, nothing more is reported, and what is not
        recorded is LOST once its lease has ended.

        Once it has ended it may be run again. Raises RuntimeError while it runs.
        """
        if self._is_running:
            raise RuntimeError("this dispatcher runs already; another zart.Dispatcher may run, too")
        connection = self._address, self._credentials, self._keepalive
        channel = self._given_channel or aio_channel(*connection)
        leases = None if self._given_channel else sync_channel(*connection)
        # What a run before has left at work, in a thread, has sets of its own.
        self._in_hand, self._unseen = set(), set()
        self._readiness = Readiness(self._on_readiness)
        threads = Threads(self._concurrency)
        self._is_running = True
        try:
            client = Client(channel, timeout=_CALL_TIMEOUT, repeats=False)
            if await register(self.tasks.values(), client, stop):
                await self._run(channel, leases, threads, stop)
        finally:
            self._is_running = False
            threads.close()
            if leases is not None:
                close_channel(leases)
            if self._given_channel is None:
                await channel.close()

    async def _run(
        self,
        channel: grpc.aio.Channel,
        leases: grpc.Channel | None,
        threads: Threads,
        stop: asyncio.Event,
    ) -> None:
        stub = DispatchServiceStub(channel)
        tasks = self.tasks.values()
        self._stop, self._is_over = stop, False
        pace = Pace(self._concurrency)
        most = self._results_bytes
        attempts = Attempts(stub, tasks, threads, self._report, self._let_go, most)
        self._slots = Slots(self._concurrency, attempts.run, self._look, pace)
        room = Room(self._concurrency, pace, self._slots, self._in_hand)
        eager = EagerDispatch(tasks, self._lease, room, self._accept, stop, self._look)
        pulse = Pulse(self._lease, in_threads=leases is not None)
        calls = ways(stub, leases, self._unseen, pulse, self._release, streams=self._streams)
        self._reporter = Reporter(calls.reports, self.dispatcher_id, eager, self._let_go, room)
        self._leasing = Leasing(
            calls.lease, self.dispatcher_id, tasks, self._lease, room, self._accept,
            self._keepalive, self._readiness.set,
        )  # fmt: skip
        extend = extend_in_the_loop(stub) if leases is None else extend_by(leases)
        keeper = LeaseKeeper(
            extend, self.dispatcher_id, self._in_hand, self._unseen, self._lease, pulse,
            self._give_back,
        )  # fmt: skip
        self._parts = self._slots, keeper, self._reporter
        background = [
            asyncio.create_task(self._reporter.run(), name="reporter"),
            asyncio.create_task(keeper.run(), name="lease keeper"),
        ]
        told = {"version": installed_version()}
        _log.info("dispatcher %s runs %s", self.dispatcher_id, ", ".join(self.tasks), extra=told)
        try:
            self._readiness.set(True)
            await self._lease_until(stop, background)
            await self._wind_down()
        finally:
            self._break_off()
            for task in background:
                task.cancel()
            try:
                self._readiness.end()
            finally:
                await asyncio.gather(*background, return_exceptions=True)
                await self._slots.let_clean_up()

    def _break_off(self) -> None:
        """Begin nothing any more, and stop what is at work: nobody extends its lease any more."""
        self._is_over, self._parts = True, None
        self._slots.stop()
        for in_hand in [each for each in self._in_hand if not each.ended]:
            in_hand.lose()

    def _accept(self, leased: list[InHand]) -> None:
        if self._stop.is_set() or self._is_over:
            self._release(leased)
            return
        # The loop may have been blocked for longer than a lease, while an answer waited.
        now = lease_clock.now()
        late = [each for each in leased if each.expires_at <= now]
        if late:
            _log.warning("%d tasks are not begun: their leases had ended on arrival", len(late))
            self._release(late)
        in_time = [each for each in leased if each.expires_at > now]
        self._in_hand.update(in_time)
        self._unseen.difference_update(in_time)
        self._slots.add(in_time)

    def _release(self, leased: Iterable[InHand]) -> None:
        """Give back leased tasks that are not to begin here, each once."""
        given = [each for each in leased if not each.ended]
        self._in_hand.update(given)
        self._unseen.difference_update(given)
        for in_hand in given:
            self._report(in_hand, released(in_hand))

    def _give_back(self, which: Iterable[InHand] | None = None) -> set[InHand]:
        """Give back the tasks that have not begun, of ``which`` or of all, and return them."""
        given = self._slots.give_back(which)
        for in_hand in given:
            self._report(in_hand, released(in_hand))
        return set(given)

    def _report(self, in_hand: InHand, outcome: pb.TaskOutcome) -> None:
        try:
            log_failure(in_hand, outcome)
            end_span(in_hand, outcome)
        except Exception as error:  # noqa: BLE001 - of whatever this process traces with
            told = "the span of an attempt is not ended: %s"
            _log.warning(told, locations_of(error), extra=fields_of(in_hand))
        finally:  # also of what has to end this process
            self._reporter.report(in_hand, outcome)

    def _look(self) -> None:
        self._leasing.look()

    def _let_go(self, in_hand: InHand) -> None:
        """Forget a task whose outcome is recorded or no longer wanted."""
        self._in_hand.discard(in_hand)
        self._leasing.look()

    async def _lease_until(self, stop: asyncio.Event, background: list[asyncio.Task[None]]) -> None:
        """Lease while there is room, until ``stop`` is set. Raises what a background task does."""
        leasing = asyncio.create_task(self._leasing.run(stop), name="leasing")
        stopping = asyncio.create_task(stop.wait(), name="stopping")
        try:
            ended, _ = await asyncio.wait(
                {leasing, stopping, *background}, return_when=asyncio.FIRST_COMPLETED
            )
            for task in ended - {stopping}:
                task.result()
            self._readiness.end()
            # A call that finds tasks answers at once: it may finish, or its leases would be lost.
            # A call that waits has found none; the server releases what it could not deliver.
            self._leasing.look()
            await asyncio.wait({leasing}, timeout=_LAST_POLL)
        finally:
            leasing.cancel()
            stopping.cancel()
            await asyncio.gather(leasing, stopping, return_exceptions=True)

    async def _wind_down(self) -> None:
        """Give back the tasks that have not begun; what runs after the grace period is lost.

        Outcomes are reported during the grace period, and for some seconds at least.
        """
        until = asyncio.get_running_loop().time() + max(self._grace, _CALL_TIMEOUT)
        self._give_back()
        await self._slots.wait(self._grace)
        until = max(until, asyncio.get_running_loop().time() + _CALL_TIMEOUT)
        self._release(list(self._unseen))
        for in_hand in [each for each in self._in_hand if not each.ended]:
            self._report(in_hand, lost(in_hand) if in_hand.is_handled else released(in_hand))
            in_hand.lose()
        try:
            async with asyncio.timeout_at(until):
                await self._reporter.flush()
        except TimeoutError:
            _log.warning("the server could not be told; %d leases expire", len(self._in_hand))
