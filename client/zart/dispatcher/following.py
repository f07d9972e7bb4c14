"""Takes on at once what a report makes ready, so that a chain of steps need not queue for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from zart.calls.call import span
from zart.dispatcher.held import Held
from zart.dispatcher.room import Room
from zart.tasks import Task
from zart.v1 import dispatch_service_pb2 as pb

# So many steps of one run in a row; then its next one queues, behind what has waited longer.
_IN_A_ROW = 16


class Following:
    """Asks with each report for what follows, keeps room for it, and holds what comes."""

    def __init__(
        self,
        tasks: Iterable[Task],
        lease: float,
        room: Room,
        accept: Callable[[list[Held]], None],
        stop: asyncio.Event,
    ) -> None:
        found = list(tasks)
        # Nothing follows the last steps of a task of ours; of other graphs nobody here knows.
        self._ends = {
            (task.name, spec.step_name)
            for task in found
            for leading in [{before for spec in task.specs for before in spec.depends_on}]
            for spec in task.specs
            if spec.step_name not in leading
        }
        self._wish = pb.LeaseNext(
            task_names=[task.name for task in found],
            handlers=sorted({name for task in found for name in task.steps}),
            lease_duration=span(lease),
        )
        self._room = room
        self._accept = accept
        self._stop = stop

    def expect(self, held: Held, outcome: pb.TaskOutcome) -> None:
        """Keep room where a task may follow an outcome."""
        if (
            not outcome.HasField("completed")
            or (held.task.task_name, held.task.step_name) in self._ends
        ):
            return
        if held.in_a_row >= _IN_A_ROW:
            outcome.queue_next = True
        else:
            held.expects = True
            self._room.expected += 1

    def ask(self, batch: Sequence[Held], request: pb.ReportTasksRequest) -> None:
        """Ask for the next steps of a batch of outcomes."""
        expected = sum(held.expects for held in batch)
        now = asyncio.get_running_loop().time()
        most = 0 if self._stop.is_set() else self._room.to_follow(expected, now)
        if most:
            request.lease_next.CopyFrom(self._wish)
            request.lease_next.max_tasks = most
        else:
            request.ClearField("lease_next")

    def answered(self, batch: Sequence[Held], leased: list[Held]) -> None:
        """Take on what came, and keep room no longer."""
        self.given_up(batch)
        if leased:
            in_a_row = {held.task.run_id: held.in_a_row for held in batch if held.in_a_row}
            for held in leased:
                held.in_a_row = in_a_row.get(held.task.run_id, 0) + 1
            self._accept(leased)

    def given_up(self, batch: Iterable[Held]) -> None:
        """Keep room no longer: these make nothing ready."""
        for held in batch:
            if held.expects:
                held.expects = False
                self._room.expected -= 1
