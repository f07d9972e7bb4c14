"""When watched executions are read anew: what ended at once, what changes often in its own time."""

from __future__ import annotations

import pytest

from zart_server.engine.background.followed import Followed
from zart_server.engine.background.hints import Hints


class Clock:
    """A time that goes on when it is told to."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def _read_urgent(hints: Hints, clock: Clock, seconds: float, watched: int = 1) -> list[Followed]:
    begun, taken = clock.time, hints.take_urgent()
    if taken:
        clock.time += seconds
        hints.urgent_were_read(begun, watched)
    return taken


async def test_what_changed_is_read_soon_and_together() -> None:
    clock = Clock()
    hints = Hints(clock)
    several = [Followed(f"x-{n}", None) for n in range(5)]
    for followed in several:
        hints.add(followed, at_once=False)
        hints.add(followed, at_once=False)
    assert hints.take_others() == []
    clock.time += 0.02
    assert hints.take_others() == several
    assert hints.take_others() == []


async def test_what_ends_while_its_changes_give_way_is_read_once() -> None:
    clock = Clock()
    hints = Hints(clock)
    short, long = Followed("short", None), Followed("long", None)
    read: list[Followed] = []
    for n in range(24):  # 0.8 seconds in which others end all the time
        hints.add(Followed(f"end-{n}", None), at_once=True)
        if n == 4:
            hints.add(short, at_once=True)
        urgent = _read_urgent(hints, clock, 0.003)
        assert (short in urgent) == (n == 4)
        if n == 0:
            hints.add(short, at_once=False)
        if n >= 1:
            hints.add(long, at_once=False)
        clock.time += 0.03
        read += hints.take_others()
    # Not as often as it changed, nor later than a quarter of a second after it did.
    assert read == [long, long]


async def test_reads_of_what_is_in_no_hurry_take_a_small_share_of_the_time() -> None:
    clock = Clock()
    hints = Hints(clock)
    busy = Followed("x", None)
    reading = 0.0
    for _ in range(1000):
        hints.add(busy, at_once=False)
        clock.time += 0.01
        if hints.take_others():
            begun = clock.time
            clock.time += 0.02
            reading += 0.02
            hints.others_were_read(begun)
    assert 0.03 < reading / (clock.time - 100) < 0.06


@pytest.mark.parametrize(("watched", "share"), [(1, 3), (10, 3), (150, 6), (300, 9), (2000, 9)])
async def test_the_more_is_watched_the_rarer_it_is_read(watched: int, share: int) -> None:
    """Whoever starts one execution after the other is told soon of each end."""
    clock = Clock()
    hints = Hints(clock)
    busy = Followed("x", None)
    reading = 0.0
    for _ in range(5000):
        hints.add(busy, at_once=True)
        reading += 0.01 * bool(_read_urgent(hints, clock, 0.01, watched))
        clock.time += 0.001
    assert 1 / (share + 1) < reading / (clock.time - 100) < 1 / (share - 1)


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_read_that_had_to_wait_keeps_nobody_waiting_for_long(*, at_once: bool) -> None:
    clock = Clock()
    hints = Hints(clock)
    x = Followed("x", None)
    begun = clock.time
    clock.time += 10.0
    if at_once:
        hints.urgent_were_read(begun, 2000)
    else:
        hints.others_were_read(begun)
    hints.add(x, at_once=at_once)
    assert hints.take_urgent() == hints.take_others() == []
    clock.time += 0.5 if at_once else 2.0
    assert (hints.take_urgent() if at_once else hints.take_others()) == [x]
