"""Leases tasks by long polls: as many as there is room for, in few calls."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable, Collection, Iterable

import grpc

from zart.calls.call import span
from zart.dispatcher.arrivals import Lease
from zart.dispatcher.backoff import Backoff
from zart.dispatcher.in_hand import InHand
from zart.dispatcher.log import Log
from zart.dispatcher.room import AT_ONCE, Room
from zart.dispatcher.stopping import unless
from zart.dispatcher.trouble import Trouble
from zart.errors import OperationTimeout, Unreachable, ZartError, from_call
from zart.tasks import Task
from zart.v1 import dispatch_service_pb2 as pb

_log = Log(__name__)
_SHORTEST, _LONGEST = 1.0, 3600.0  # seconds of a lease, as servers take them
_ID_BYTES = 255
_TASKS, _HANDLERS = 1000, 10_000
PATIENCE = 0.01  # seconds after an answer in which no call asks for few tasks
_POLL = 30.0  # seconds of one long poll at most
# A server with gRPC's default policy wants five minutes between two pings if nothing else is sent,
# and ends the connection at the fourth ping that is too early: so many pings are in one poll.
_PINGS = 2.5
_POLL_UNPINGED = 5.0
_RESULTS_MIB = 4
_LARGE = _RESULTS_MIB * 1024 * 1024  # bytes, half of what an answer has room for
_TIMEOUT = 10.0  # seconds on top
_TIMEOUT_UNPINGED = 5.0  # nothing else shows that the server is gone


def refuse_options(
    tasks: Collection[Task],
    concurrency: int,
    lease: float,
    dispatcher_id: str | None,
    results_mib: int,
) -> None:
    """Raise ValueError for what no server would lease tasks by, and for two tasks of one name."""
    named: dict[str, Task] = {}
    for task in tasks:
        if named.setdefault(task.name, task) is not task:
            raise ValueError(f"two tasks are named {task.name!r}: one would never be run")
    if not named:
        raise ValueError("a dispatcher needs tasks, of which it runs the steps")
    if len(named) > _TASKS or len(_handlers(tasks)) > _HANDLERS:
        raise ValueError(
            f"one dispatcher runs at most {_TASKS} tasks, and {_HANDLERS} steps of different names"
        )
    if concurrency < 1:
        raise ValueError("concurrency must be at least 1")
    if results_mib < _RESULTS_MIB:
        raise ValueError(f"results_mib must be at least {_RESULTS_MIB}, which come with a lease")
    if not _SHORTEST <= lease <= _LONGEST:
        raise ValueError(f"lease must be {_SHORTEST:g} to {_LONGEST:g} seconds, not {lease!r}")
    if dispatcher_id and (len(dispatcher_id.encode()) > _ID_BYTES or dispatcher_id.isspace()):
        raise ValueError(f"dispatcher_id must have 1 to {_ID_BYTES} bytes, and something to see")
    if dispatcher_id and any(unicodedata.category(char) == "Cc" for char in dispatcher_id):
        raise ValueError("dispatcher_id must have no control characters")


def _handlers(tasks: Iterable[Task]) -> list[str]:
    return sorted({name for task in tasks for name in task.steps})


def _is_late(error: Exception) -> bool:
    """Return whether a call ended with its timeout or the server's, of a stream or of its own."""
    if isinstance(error, grpc.RpcError):
        code: object = error.code()
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return True
        return isinstance(from_call(error), OperationTimeout)
    return isinstance(error, Unreachable | OperationTimeout)


def _problem(error: Exception) -> object:
    """Return what is told of a call that failed."""
    if isinstance(error, grpc.RpcError):
        return from_call(error)
    return error if isinstance(error, ZartError) else repr(error)


def _has_all(leased: list[InHand], asked: int) -> bool:
    """Return whether an answer had all tasks that there were, and not as many as fit into one."""
    if not leased:
        return True
    return len(leased) < asked and len(leased) * leased[0].task.ByteSize() < _LARGE


async def _yield_to_others() -> None:
    """Let leased tasks begin, and quick ones be reported, before more tasks are asked for.

    A step that takes no time ends in its first turn of the loop; its report goes out in the fourth.
    """
    for _ in range(4):
        await asyncio.sleep(0)


class Leasing:
    """Leases tasks while there is room, and gives them to ``accept``.

    ``keepalive``: the seconds between two pings of the channel; 0: there are none. ``answered`` is
    called after each call with whether the server answered it.
    """

    def __init__(
        self,
        lease_tasks: Lease,
        dispatcher_id: str,
        tasks: Iterable[Task],
        lease: float,
        room: Room,
        accept: Callable[[list[InHand]], None],
        keepalive: float,
        answered: Callable[[bool], None],
    ) -> None:
        self._lease_tasks = lease_tasks
        self._poll = min(_POLL, _PINGS * keepalive) if keepalive else _POLL_UNPINGED
        self._timeout = self._poll + (_TIMEOUT if keepalive else _TIMEOUT_UNPINGED)
        self._dispatcher_id = dispatcher_id
        self._tasks = list(tasks)
        self._lease = lease
        self._room = room
        self._accept = accept
        self._answered = answered
        self._look = asyncio.Event()
        self._patience: asyncio.TimerHandle | None = None  # while the last answer is recent
        self._is_short = False  # that answer had fewer tasks than it might have had

    def look(self) -> None:
        """Have ``run`` look whether there is room now."""
        self._look.set()

    def _be_patient(self) -> None:
        """Ask for no few tasks in the moment after an answer."""
        if self._patience is not None:
            self._patience.cancel()
        self._patience = asyncio.get_running_loop().call_later(PATIENCE, self._ask_for_few)

    def _ask_for_few(self) -> None:
        # The timer itself says that the moment is over. By the loop's clock it may not be quite:
        # uvloop's counts whole milliseconds, and who found that it is not would never look again.
        self._patience = None
        self.look()

    async def run(self, stop: asyncio.Event) -> None:
        """Lease tasks until ``stop`` is set; ``look`` has it notice that.

        Whatever a call fails with, others follow.
        """
        loop = asyncio.get_running_loop()
        request = pb.LeaseTasksRequest(
            dispatcher_id=self._dispatcher_id,
            task_names=[task.name for task in self._tasks],
            handlers=_handlers(self._tasks),
            wait=span(self._poll),
            lease_duration=span(self._lease),
        )
        backoff = Backoff()
        trouble = Trouble(_log, "nothing is leased")
        most = AT_ONCE  # fewer while answers come too late: the way may be narrow
        while not stop.is_set():
            room = self._room.to_lease(
                loop.time(), is_patient=self._patience is not None, is_short=self._is_short
            )
            request.max_tasks = min(room, most)
            if not request.max_tasks:
                self._look.clear()
                await self._look.wait()
                continue
            try:
                leased = await self._ask(request)
            except Exception as error:  # noqa: BLE001 - no thread can be started, say; it may pass
                if _is_late(error):
                    most = max(1, request.max_tasks // 2)
                trouble.met(_problem(error))
                self._answered(False)  # noqa: FBT003 - whether it did
                await unless(stop, backoff.wait())
                continue
            trouble.over()
            self._answered(True)  # noqa: FBT003 - whether it did
            backoff.reset()
            if leased:  # an answer without tasks says nothing of the way
                most = min(2 * most, AT_ONCE)
            self._is_short = _has_all(leased, request.max_tasks)
            self._be_patient()
            self._accept(leased)
            if leased:
                await _yield_to_others()

    async def _ask(self, request: pb.LeaseTasksRequest) -> list[InHand]:
        self._room.asked = request.max_tasks
        try:
            return await self._lease_tasks(request, self._timeout)
        finally:
            self._room.asked = 0
