"""For how long a loop has failed is known, however seldom it fails for being slow."""

from __future__ import annotations

import pytest

from zart_server.engine.background.failing import Failing


class Clock:
    """Goes on as it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands."""
    return Clock()


@pytest.fixture
def failing(clock: Clock) -> Failing:
    """What has not failed yet."""
    return Failing(clock)


def turn(failing: Failing, clock: Clock, *, takes: float = 0.0, fails: bool = False) -> None:
    """Have a turn take so many seconds."""
    failing.begin()
    clock.now += takes
    if fails:
        failing.fail()
    failing.end()


def test_what_goes_well_does_not_fail(failing: Failing, clock: Clock) -> None:
    assert failing.seconds() == 0
    turn(failing, clock, takes=100)
    assert failing.seconds() == 0


@pytest.mark.parametrize("takes", [0.05, 30, 300])
def test_it_fails_since_its_first_failure_however_long_each_takes(
    failing: Failing, clock: Clock, takes: float
) -> None:
    turn(failing, clock, takes=takes, fails=True)
    began = clock.now
    for _ in range(20):
        clock.now += 1
        turn(failing, clock, takes=takes, fails=True)
        assert failing.seconds() == clock.now - began
    clock.now += 600  # in which nothing was tried
    assert failing.seconds() == clock.now - began


def test_it_is_over_once_it_has_gone_well_for_a_while(failing: Failing, clock: Clock) -> None:
    turn(failing, clock, fails=True)
    turn(failing, clock)
    clock.now += 19
    assert failing.seconds() == 19
    clock.now += 2
    assert failing.seconds() == 0
    turn(failing, clock, fails=True)
    clock.now += 1
    assert failing.seconds() == 1


def test_what_is_passed_over_for_seconds_goes_on_failing(failing: Failing, clock: Clock) -> None:
    for _ in range(60):
        turn(failing, clock, fails=True)
        for _ in range(10):
            clock.now += 1
            turn(failing, clock)
    assert failing.seconds() == 600


@pytest.mark.parametrize("takes", [30, 3600])
def test_a_turn_of_hours_in_which_a_piece_failed_is_over_within_a_minute(
    failing: Failing, clock: Clock, takes: float
) -> None:
    turn(failing, clock, takes=takes, fails=True)
    turn(failing, clock)
    clock.now += 59
    assert failing.seconds() == 59
    clock.now += 2
    assert failing.seconds() == 0


def test_a_turn_goes_on_for_hours_after_a_piece_failed(failing: Failing, clock: Clock) -> None:
    failing.begin()
    failing.fail()
    clock.now += 1
    failing.go_well()
    clock.now += 3600
    assert failing.seconds() == 0


def test_two_servers_that_fail_slowly_by_turns_go_on_failing(
    failing: Failing, clock: Clock
) -> None:
    """While the other one is at it, this one has nothing to do, and goes well."""
    for _ in range(10):
        turn(failing, clock, takes=30, fails=True)
        for _ in range(30):
            clock.now += 1
            turn(failing, clock)
    assert failing.seconds() == 570


def test_a_turn_that_is_under_way_has_not_gone_well(failing: Failing, clock: Clock) -> None:
    turn(failing, clock, fails=True)
    failing.begin()
    clock.now += 100
    assert failing.seconds() == 100
    failing.end()
    assert failing.seconds() == 0
