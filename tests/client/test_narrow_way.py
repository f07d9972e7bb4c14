"""Over a narrow way less is asked for at a time, until it comes in time."""

from __future__ import annotations

import asyncio
from typing import Any

import zart
from zart.dispatcher.in_hand import in_hand_of
from zart.dispatcher.leasing import Leasing
from zart.errors import Unreachable
from zart.v1 import dispatch_service_pb2 as pb


class Room:
    """Room for more than comes through."""

    asked = 0

    def to_lease(self, _now: float, **_given: bool) -> int:
        """Say how many tasks there is room for."""
        return 600


async def test_what_came_too_late_is_asked_for_by_halves_and_more_again() -> None:
    task, stop, asked = zart.Task("t"), asyncio.Event(), []

    @task.step(name="a")
    async def step(_ctx: zart.StepContext) -> None:
        """Do nothing."""

    async def lease(request: pb.LeaseTasksRequest, _timeout: float) -> list[Any]:
        asked.append(request.max_tasks)
        if len(asked) in {1, 2}:
            raise Unreachable("in time")
        if len(asked) == 6:
            stop.set()
        # What is empty says nothing of the way.
        return in_hand_of([pb.LeasedTask()], 0.0) if len(asked) > 3 else []

    room: Any = Room()
    leasing = Leasing(lease, "d", [task], 30.0, room, lambda _: None, 3.0, lambda _: None)
    await leasing.run(stop)
    assert asked == [600, 300, 150, 150, 300, 600]
