"""Attempts are stopped each at its own deadline, in the order of these, by one timer."""

from __future__ import annotations

import contextlib

from standing_clock import StandingClock

from zart.calls.call import span
from zart.dispatcher import lease_clock
from zart.dispatcher.in_hand import InHand, in_hand_of
from zart.dispatcher.time_limits import TimeLimits
from zart.v1 import dispatch_service_pb2 as pb


async def expired(clock: StandingClock) -> list[set[str]]:
    """Return which attempts were stopped by 0.5, 1, 3 and 5 seconds of their clock."""
    running: set[InHand] = set()
    limits = TimeLimits(running)
    for timeout in (5, 1, 3):
        task = pb.LeasedTask(step_name=f"s{timeout}", timeout=span(timeout), lease_ttl=span(3600))
        (in_hand,) = in_hand_of([task], lease_clock.now())
        running.add(in_hand)
        limits.begin(in_hand)
    found = []
    for seconds in (0.5, 0.5, 2.0, 2.0):
        await clock.passed(seconds)
        found.append({each.context.step_name for each in running if each.expired})
    return found


def test_an_earlier_deadline_sets_the_timer_anew_and_so_does_what_is_left() -> None:
    with contextlib.closing(StandingClock()) as clock:
        found = clock.run_until_complete(expired(clock))
    assert found == [set(), {"s1"}, {"s1", "s3"}, {"s1", "s3", "s5"}]
