"""A few free slots are asked for a moment after each answer, however coarse the loop's clock is."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from standing_clock import StandingClock

import zart
from zart.dispatcher.in_hand import InHand
from zart.dispatcher.leasing import PATIENCE, Leasing
from zart.dispatcher.pace import Pace
from zart.dispatcher.room import Room
from zart.v1 import dispatch_service_pb2 as pb

_HOUR = 3_600_000  # milliseconds
_MOMENT = round(PATIENCE * 1000)  # milliseconds
_ANSWERS = 300


class WholeMilliseconds(StandingClock):
    """A loop whose clock counts whole milliseconds, as uvloop's does, since the machine began.

    Its timers fire within the millisecond for which they were set.
    """

    _uptime = 0

    def time(self) -> float:
        """Return the seconds since then."""
        return self._uptime / 1000

    async def passed_ms(self, milliseconds: int) -> None:
        """Let so much time pass, and go on what waited for it."""
        self._uptime += milliseconds
        await self.at_rest()


async def _lease_again_and_again(clock: WholeMilliseconds) -> None:
    asked, stop, task = list[int](), asyncio.Event(), zart.Task("t")

    async def lease(request: pb.LeaseTasksRequest, _timeout: float) -> list[InHand]:
        asked.append(request.max_tasks)
        return []

    busy = [None] * 13  # steps of an hour: none of them ends, and has anybody look
    room = Room(16, Pace(16), busy, busy)
    leasing = Leasing(lease, "d", [task], 30.0, room, lambda _: None, 3.0, lambda _: None)
    running = asyncio.create_task(leasing.run(stop))
    await clock.at_rest()
    for answers in range(1, _ANSWERS):
        assert asked == [3] * answers
        await clock.passed_ms(_MOMENT - 1)
        assert asked == [3] * answers
        await clock.passed_ms(1)
    stop.set()
    leasing.look()
    await running


@pytest.mark.parametrize("uptime", [0, _HOUR, 2 * _HOUR, 24 * _HOUR, 1_000 * _HOUR])
def test_whatever_the_clock_shows_no_free_slot_stays_idle(uptime: int) -> None:
    """A comparison of the times went wrong for a quarter of all milliseconds after an hour."""
    with contextlib.closing(WholeMilliseconds()) as clock:
        clock._uptime = uptime
        clock.run_until_complete(_lease_again_and_again(clock))
