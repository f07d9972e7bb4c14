"""Takes on at once what a report makes ready, so that a chain of steps need not queue for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from zart.calls.call import span
from zart.dispatcher.held import Held
from zart.tasks import Task
from zart.v1 import dispatch_service_pb2 as pb

# So many steps of one run in a row; then its next one queues, behind what has waited longer.
_IN_A_ROW = 16


class Following:
    """Asks with each report for what follows, and holds what the answer brings.

    ``expected`` is how many tasks may come of outcomes that are not recorded yet: room is kept
    for them. ``accept`` takes what has come.
    """

    def __init__(
        self, tasks: Iterable[Task], lease: float, accept: Callable[[list[Held]], None]
    ) -> None:
        tasks = list(tasks)
        self._accept = accept
        # Nothing follows the last steps of a task of ours; of other graphs nobody here knows.
        self._ends = {
            (task.name, spec.step_name)
            for task in tasks
            for spec in task.specs
            if not any(spec.step_name in other.depends_on for other in task.specs)
        }
        self._wish = pb.LeaseNext(
            task_names=[task.name for task in tasks],
            handlers=sorted({name for task in tasks for name in task.steps}),
            lease_duration=span(lease),
        )
        self._is_stopped = False
        self.expected = 0

    def stop(self) -> None:
        """Ask for nothing more."""
        self._is_stopped = True

    def leads_on(self, held: Held, outcome: pb.TaskOutcome) -> bool:
        """Tell whether a task may follow this outcome, and expect it; else it is queued."""
        if (
            self._is_stopped
            or not outcome.HasField("completed")
            or (held.task.task_name, held.task.step_name) in self._ends
        ):
            return False
        if held.in_a_row >= _IN_A_ROW:
            outcome.queue_next = True
            return False
        self.expected += 1
        return True

    def ask(self, request: pb.ReportTasksRequest, count: int) -> None:
        """Ask for what follows the outcomes of a report, ``count`` tasks at most."""
        if count and not self._is_stopped:
            request.lease_next.CopyFrom(self._wish)
            request.lease_next.max_tasks = count

    def answered(
        self, reported: Sequence[Held], count: int, asked_at: float, tasks: Sequence[pb.LeasedTask]
    ) -> None:
        """Take what follows; ``count`` was asked for."""
        self.expected -= count
        if not tasks:
            return
        now = asyncio.get_running_loop().time()
        leased_at = datetime.now(UTC)
        rows = {held.task.run_id: held.in_a_row + 1 for held in reported}
        follow = []
        for task in tasks:
            held = Held.of(task, now, asked_at, leased_at)
            held.in_a_row = rows.get(task.run_id, 1)
            follow.append(held)
        self._accept(follow)
