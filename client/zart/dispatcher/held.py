"""A leased task, as the dispatcher holds it from the lease to the recorded outcome."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from zart.tasks import StepContext
from zart.v1 import dispatch_service_pb2 as pb


@dataclass(eq=False, slots=True)
class Held:
    """A leased task. Times are the event loop's, in seconds."""

    task: pb.LeasedTask
    deadline: float
    expires_at: float
    extend_at: float
    context: StepContext
    lost: bool = False
    ended: bool = False
    running: asyncio.Task[None] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, task: pb.LeasedTask, now: float, asked_at: float) -> Held:
        """Hold a task that was leased not before ``asked_at``."""
        timeout = task.timeout.ToTimedelta()
        held = cls(
            task=task,
            deadline=now + timeout.total_seconds(),
            expires_at=0.0,
            extend_at=0.0,
            context=_context(task, datetime.now(UTC) + timeout),
        )
        held.extended(task.lease_ttl.ToTimedelta().total_seconds(), asked_at)
        return held

    def extended(self, ttl: float, asked_at: float) -> None:
        """Note how long the lease lasts; counted from before the call, it is never too long."""
        self.expires_at = asked_at + ttl
        self.extend_at = asked_at + ttl / 3

    def add_results(self, results: Mapping[str, str]) -> None:
        """Add the results that were left out of the lease for size."""
        known = self.context._results  # noqa: SLF001 - of our own making, and still ours alone
        assert isinstance(known, dict)  # noqa: S101 - made below
        known.update((name, json.loads(text)) for name, text in results.items())

    def lose(self) -> None:
        """Stop the handler: its result is no longer wanted."""
        self.lost = True
        self.context._cancelled.set()  # noqa: SLF001 - the dispatcher's half of ctx.cancelled
        if self.running is not None:
            self.running.cancel()

    @property
    def lease(self) -> pb.LeaseRef:
        """The lease's name on the wire."""
        return pb.LeaseRef(task_id=self.task.task_id, lease_token=self.task.lease_token)


def _context(task: pb.LeasedTask, deadline: datetime) -> StepContext:
    return StepContext(
        execution_id=task.execution_id,
        run_id=task.run_id,
        run_number=task.run_number,
        step_name=task.step_name,
        attempt=task.attempt,
        max_attempts=task.max_attempts,
        payload=json.loads(task.payload_json) if task.HasField("payload_json") else None,
        input=json.loads(task.input_json) if task.HasField("input_json") else None,
        deadline=deadline,
        _results={name: json.loads(text) for name, text in task.upstream_json.items()},
    )
