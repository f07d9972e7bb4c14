"""A leased task, as the dispatcher holds it from the lease to the recorded outcome."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration

from zart.step_context import StepContext
from zart.v1 import dispatch_service_pb2 as pb


@dataclass(eq=False, slots=True)
class Held:
    """A leased task. Times are those of ``time.monotonic``, which is asyncio's clock too.

    A thread keeps its lease, which has no loop to ask.
    """

    task: pb.LeasedTask
    context: StepContext
    deadline: float
    expires_at: float
    extend_at: float
    in_a_row: int = 0  # how many steps of its run were taken on before it, one after the other
    expects: bool = False  # room is kept for what it makes ready
    begun: bool = False
    lost: bool = False
    expired: bool = False
    ended: bool = False
    raised_at: str = ""  # where its handler's error was, for the log
    running: asyncio.Task[None] | None = field(default=None, repr=False)

    def extended(self, ttl: float, asked_at: float) -> None:
        """Note how long the lease lasts; counted from before the call, it is never too long.

        Called in the thread that keeps leases.
        """
        self.expires_at = asked_at + ttl
        self.extend_at = asked_at + ttl / 3

    def arrived(self, now: float) -> None:
        """Note that the event loop knows of it only now: its time to run begins."""
        self.deadline = now + seconds_of(self.task.timeout)

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
        """Whether the task that runs it was cancelled not only because it is lost or expired."""
        task = asyncio.current_task()
        return task is not None and task.cancelling() > self.lost + self.expired

    def is_running_here(self) -> bool:
        """Whether this is called by the task that runs it."""
        try:
            return self.running is not None and asyncio.current_task() is self.running
        except RuntimeError:  # no loop
            return False

    def detach(self) -> None:
        """Let go of the answer that it came with, which is as large as all of its tasks."""
        task = pb.LeasedTask()
        task.CopyFrom(self.task)
        self.task = self.context._task = task  # noqa: SLF001 - of our own making

    @property
    def lease(self) -> pb.LeaseRef:
        """The lease's name on the wire."""
        return pb.LeaseRef(task_id=self.task.task_id, lease_token=self.task.lease_token)


def held_of(tasks: Iterable[pb.LeasedTask], asked_at: float) -> list[Held]:
    """Hold tasks that were leased now, and not before ``asked_at``; in whatever thread."""
    now = time.monotonic()
    leased_at = datetime.now(UTC)
    found = []
    for task in tasks:
        ttl = seconds_of(task.lease_ttl)
        found.append(
            Held(
                task,
                StepContext(task, leased_at),
                now + seconds_of(task.timeout),
                asked_at + ttl,
                asked_at + ttl / 3,
            )
        )
    return found


def seconds_of(span: Duration) -> float:
    """Return a span in seconds, at a fifth of ToTimedelta's cost."""
    return span.seconds + span.nanos / 1e9
