"""A task in hand: leased by this dispatcher, its outcome not yet recorded."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from opentelemetry.trace import Span

from zart.dispatcher import lease_clock
from zart.step_context import StepContext
from zart.v1 import dispatch_service_pb2 as pb

# Of a task whose attempt is over: what its outcome and lines of the log tell. Nothing of it is
# large, as the payload, the input and results are.
_KEPT = (
    "task_id", "lease_token", "execution_id", "run_id", "run_number", "task_name", "step_name",
    "attempt", "traceparent",
)  # fmt: skip


@dataclass(eq=False, slots=True)
class InHand:
    """A leased task. Times of its lease are those of ``lease_clock``, which counts a suspend.

    Others are those of ``time.monotonic``, which is asyncio's clock too. ``begin_by`` is the end of
    its first lease. The server lets an attempt last one time limit longer: so a handler that is
    called by then has its whole time limit.
    """

    task: pb.LeasedTask
    context: StepContext
    begin_by: float
    expires_at: float
    extend_at: float
    deadline: float = math.inf  # of its handler; its time begins when it is called
    in_a_row: int = 0  # steps of its run that were leased eagerly just before it
    expects: int = 0  # steps that it makes ready for which room is kept
    begun: bool = False  # it has a slot
    is_handled: bool = False  # its handler was called, and may have had its effect
    tells_late: bool = False  # what its handler tells is evidence, also after its lease was lost
    lost: bool = False
    given_up: bool = False  # the server has given up its lease after it had ended
    expired: bool = False
    ended_at: float = math.inf  # since when it has an outcome
    span: Span | None = field(default=None, repr=False)  # of the attempt, where it is traced
    handler_span: Span | None = field(default=None, repr=False)  # likewise, of its handler
    is_detached: bool = False  # from the answer that its task came with
    has_inputs: bool = True
    raised_at: str = ""  # the line of code of its handler's error, for the log
    running: asyncio.Task[None] | None = field(default=None, repr=False)

    def extended(self, ttl: float, asked_at: float) -> None:
        """Note the end of the lease; as ``ttl`` is counted from before the call, never too late.

        The thread of the lease keeper calls this.
        """
        self.expires_at = asked_at + ttl
        self.extend_at = asked_at + ttl / 3

    def begin_time(self, now: float) -> None:
        """Begin its time limit: its handler is about to be called. ``now``: by the loop's clock."""
        # Some of its time has gone if the results that it needs took longer than a lease to fetch.
        gone = max(lease_clock.now() - self.begin_by, 0.0)
        self.deadline = now - gone + seconds_of(self.task.timeout)
        self.context._begun_at = datetime.now(UTC) - timedelta(seconds=gone)  # noqa: SLF001 - the dispatcher's half of ctx.deadline

    def lose(self) -> None:
        """Stop the handler: its result is no longer wanted."""
        self.lost = True
        self._stop()

    def expire(self) -> None:
        """Stop the handler: its time is up."""
        self.expired = True
        self._stop()

    def _stop(self) -> None:
        self.context._cancelled = True  # noqa: SLF001 - the dispatcher's half of ctx.cancelled
        # A task that is cancelled before it has begun never begins, and would keep its slot.
        if self.begun and self.running is not None:
            self.running.cancel()

    def was_cancelled_by_others(self) -> bool:
        """Return whether the running attempt was cancelled, too, for a reason other than these two.

        The two are a lost lease and the time limit.
        """
        task = asyncio.current_task()
        return task is not None and task.cancelling() > self.lost + self.expired

    def is_running_here(self) -> bool:
        """Return whether the caller is the asyncio task that runs the attempt."""
        try:
            return self.running is not None and asyncio.current_task() is self.running
        except RuntimeError:  # no loop
            return False

    def detach(self) -> None:
        """Copy the task out of the answer that it came with, once, so that the answer can be freed.

        The answer is as large as all tasks that came with it.
        """
        if self.is_detached:
            return
        self.is_detached = True
        task = pb.LeasedTask()
        task.CopyFrom(self.task)
        self.task = self.context._task = task  # noqa: SLF001 - of our own making

    def drop_inputs(self) -> None:
        """Keep no more of the task than what tells which it is: its outcome may wait for hours.

        To be called once its attempt is over. What its handler was given stays as it is, for
        whatever it has left behind that may still look at it.
        """
        self.is_detached, self.has_inputs = True, False
        self.task = pb.LeasedTask(**{name: getattr(self.task, name) for name in _KEPT})
        self.context = StepContext(self.task, self.context._begun_at)  # noqa: SLF001 - of our own making

    @property
    def is_over(self) -> bool:
        """Whether its handler has returned, too, and what runs it."""
        return self.ended and (self.running is None or self.running.done())

    @property
    def ended(self) -> bool:
        """Whether it has an outcome, which may be on its way."""
        return self.ended_at < math.inf

    @property
    def lease(self) -> pb.LeaseRef:
        """The lease's name on the wire."""
        return pb.LeaseRef(task_id=self.task.task_id, lease_token=self.task.lease_token)


def in_hand_of(tasks: Iterable[pb.LeasedTask], asked_at: float) -> list[InHand]:
    """Return tasks in hand for tasks that were leased after ``asked_at``; from any thread."""
    leased_at = datetime.now(UTC)
    found = []
    for task in tasks:
        ttl = seconds_of(task.lease_ttl)
        found.append(
            InHand(
                task,
                StepContext(task, leased_at),
                begin_by=asked_at + ttl,
                expires_at=asked_at + ttl,
                extend_at=asked_at + ttl / 3,
            )
        )
    return found


def seconds_of(span: Duration) -> float:
    """Return a span in seconds, at a fifth of ToTimedelta's cost."""
    return span.seconds + span.nanos / 1e9
