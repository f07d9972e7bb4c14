"""Eager dispatch: leases a step to the reporting call in the transaction that makes it ready.

Such a step is never queued. Its handler's inputs are at hand where the report brought them. Of a
step that waited for several the others are read: that costs less than to queue it, and to claim it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from zart_server.domain.dispatch import LeasedTask, LeaseNext
from zart_server.domain.json_text import utf8_size
from zart_server.store.caches.runs import RunFacts
from zart_server.store.lessees import Lessee
from zart_server.store.queue import task_id_of
from zart_server.store.stored_graph import Definition, bytes_of_name

_BESIDES = 1024  # bytes of a task in an answer, beside its payload, input and results
_MOST_READ = 16  # results for one step; one that needs more is queued
_MOST_READ_AT_ONCE = 512  # as many as may be of 8 KiB in 4 MiB


@dataclass(slots=True)
class _Room:
    """How many more tasks and bytes a call may lease."""

    tasks: int
    bytes: int


class EagerDispatch:
    """Chooses the tasks that the calls of one batch of outcomes lease at once."""

    def __init__(self) -> None:
        self._results: dict[tuple[int, int], str] = {}
        self._rooms: dict[LeaseNext, _Room] = {}
        self._readers: dict[LeaseNext, int] = {}  # steps for which results are read
        self._to_read = 0

    def completed(self, run_key: int, step_no: int, result_json: str) -> None:
        """Keep a result at hand for the steps that wait for it."""
        self._results[run_key, step_no] = result_json

    def lacks(
        self, to: LeaseNext, run: RunFacts, definition: Definition, step_no: int
    ) -> list[tuple[int, int]]:
        """Return whose results are to be read so that a call can lease a ready step now.

        By run key and step number; none where it would not lease it all the same.
        """
        handler = definition.graph.steps[step_no].handler
        if not _has_payload(run) or self.is_full(to) or not to.takes(definition.task_name, handler):
            return []
        needed = ((run.run_key, dep) for dep in definition.graph.depends_on[step_no])
        lacking = [key for key in needed if key not in self._results]
        readers = self._readers.get(to, 0)
        is_many = len(lacking) > _MOST_READ or self._to_read + len(lacking) > _MOST_READ_AT_ONCE
        if not lacking or is_many or readers >= to.max_tasks:
            return []
        self._readers[to] = readers + 1
        self._to_read += len(lacking)
        return lacking

    def read(self, results: Mapping[tuple[int, int], str]) -> None:
        """Keep results that were read: steps of which one is not among them are queued."""
        self._results.update(results)

    def takes(self, to: LeaseNext, run: RunFacts, definition: Definition, step_no: int) -> bool:
        """Return whether a call can lease a step now: it has room, and the inputs are at hand."""
        if not to.takes(definition.task_name, definition.graph.steps[step_no].handler):
            return False
        if not _has_payload(run):
            return False
        size = run.payload_bytes + definition.input_bytes[step_no] + _BESIDES
        for dep in definition.graph.depends_on[step_no]:
            result = self._results.get((run.run_key, dep))
            if result is None:
                return False
            size += definition.name_bytes[dep] + utf8_size(result)
        room = self._rooms.get(to)
        if room is None:
            room = self._rooms[to] = _Room(to.max_tasks, to.max_bytes)
        if room.tasks <= 0 or size > room.bytes:
            return False
        room.tasks -= 1
        room.bytes -= size
        return True

    def is_full(self, to: LeaseNext) -> bool:
        """Return whether a call has as many tasks as it takes."""
        room = self._rooms.get(to)
        return room is not None and room.tasks <= 0

    def leased(
        self,
        definition: Definition,
        step_no: int,
        attempt: int,
        to: LeaseNext,
        run: RunFacts,
        token: int,
        expires_at: datetime,
    ) -> LeasedTask:
        """Return the leased task of a step, with its handler's inputs."""
        graph = definition.graph
        step = graph.steps[step_no]
        upstream = {
            graph.steps[dep].step_name: self._results[run.run_key, dep]
            for dep in graph.depends_on[step_no]
        }
        return LeasedTask(  # by position: by name it takes twice as long
            task_id_of(run.run_key, step_no, attempt),
            token,
            run.execution_id,
            run.run_number,
            definition.task_name,
            run.definition_key,
            step_no,
            step,
            attempt,
            step.retry_policy.max_attempts,
            run.payload_json,
            upstream,
            (),
            expires_at,
            to.lease_duration,
            run.traceparent,
        )


def _has_payload(run: RunFacts) -> bool:
    """Return whether the payload is at hand, if there is any: long ones are not."""
    return not run.payload_bytes or run.payload_json is not None


def size_of(task: LeasedTask) -> int:
    """Return how many bytes a task is reckoned to take of an answer, as where it was leased."""
    results = task.upstream_json
    texts = (task.payload_json or "", task.step.input_json or "", *results.values())
    return sum(map(utf8_size, texts)) + sum(map(bytes_of_name, results)) + _BESIDES


def lessee_of(to: LeaseNext) -> Lessee:
    """Return the lessee as it is stored."""
    return Lessee(to.dispatcher_id, to.principal, to.lease_duration.total_seconds())
