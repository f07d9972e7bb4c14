"""Eager dispatch: a report leases the steps that it makes ready, so that they are not queued."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from zart.calls.call import span
from zart.dispatcher.in_hand import InHand
from zart.dispatcher.room import Room
from zart.tasks import Task
from zart.v1 import dispatch_service_pb2 as pb

# So many steps of one run in a row; then its next one is queued, behind tasks that waited longer.
_IN_A_ROW = 16


class EagerDispatch:
    """Asks with each report for the steps that it makes ready, and keeps room for them.

    ``freed`` is called when some of that room is given up.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        lease: float,
        room: Room,
        accept: Callable[[list[InHand]], None],
        stop: asyncio.Event,
        freed: Callable[[], None],
    ) -> None:
        found = list(tasks)
        # No step depends on these, in the graphs of our tasks. Other graphs are not known here.
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
        self._freed = freed

    def expect(self, in_hand: InHand, outcome: pb.TaskOutcome) -> None:
        """Keep room for one step if the outcome may make a step ready."""
        if (
            not outcome.HasField("completed")
            or (in_hand.task.task_name, in_hand.task.step_name) in self._ends
        ):
            return
        if in_hand.in_a_row >= _IN_A_ROW:
            outcome.queue_next = True
        else:
            in_hand.expects = 1
            self._room.expected += 1

    def ask(self, batch: Sequence[InHand], request: pb.ReportTasksRequest) -> None:
        """Ask, in the report of a batch of outcomes, for the steps that it makes ready.

        Room is kept for all of them until the answer, for what is asked for beside it has to know.
        """
        expecting = [each for each in batch if each.expects]
        self._keep(expecting, 0)
        now = asyncio.get_running_loop().time()
        most = 0 if self._stop.is_set() else self._room.to_lease_eagerly(len(expecting), now)
        self._keep(expecting, most - len(expecting))
        if most:
            request.lease_next.CopyFrom(self._wish)
            request.lease_next.max_tasks = most
        else:
            request.ClearField("lease_next")

    def _keep(self, expecting: Sequence[InHand], more: int) -> None:
        """Keep room for one step an outcome, and one more for so many of them."""
        for number, in_hand in enumerate(expecting):
            count = 2 if number < more else 1
            self._room.expected += count - in_hand.expects
            in_hand.expects = count

    def answered(self, batch: Sequence[InHand], leased: list[InHand]) -> None:
        """Accept the tasks that the answer leased, and free the rest of the room kept for them."""
        self.given_up(batch)
        if leased:
            in_a_row = {each.task.run_id: each.in_a_row for each in batch if each.in_a_row}
            for in_hand in leased:
                in_hand.in_a_row = in_a_row.get(in_hand.task.run_id, 0) + 1
            self._accept(leased)

    def given_up(self, batch: Iterable[InHand]) -> None:
        """Free the room that was kept for these outcomes."""
        before = self._room.expected
        for in_hand in batch:
            if in_hand.expects:
                self._room.expected -= in_hand.expects
                in_hand.expects = 0
        if self._room.expected < before:
            self._freed()
