"""Since when a task is leased: never later than it was, nor needlessly early."""

from __future__ import annotations

import pytest

from zart.dispatcher import lease_clock
from zart.dispatcher.pulse import Pulse

LEASE, AGE = 3.0, 0.3  # seconds: an answer is on its way for a tenth of a lease at most
WAIT = 7.5
LOOP, THREAD = "loop", "thread"


class Beating:
    """A pulse, and a clock that moves as it is told."""

    def __init__(self, patch: pytest.MonkeyPatch, *, in_threads: bool) -> None:
        self.now = 1000.0
        patch.setattr(lease_clock, "now", lambda: self.now)
        self.pulse = Pulse(LEASE, in_threads=in_threads)

    def beat(self, seconds: float, *who: str) -> None:
        """Go on for so long."""
        for _ in range(round(seconds / self.pulse.apart)):
            self.now += self.pulse.apart
            if LOOP in who:
                self.pulse.beat_in_loop()
            if THREAD in who:
                self.pulse.beat_in_thread()


@pytest.mark.parametrize("who", [(LOOP,), (THREAD,), (LOOP, THREAD)])
def test_an_answer_that_is_looked_at_as_it_comes_is_as_old_as_it_may_be(
    monkeypatch: pytest.MonkeyPatch, who: tuple[str, ...]
) -> None:
    beating = Beating(monkeypatch, in_threads=True)
    asked_at = beating.now
    beating.beat(7.0, *who)
    beating.now += 0.1
    assert beating.pulse.leased_at(asked_at, WAIT) == pytest.approx(beating.now - AGE)


def test_what_comes_at_once_is_leased_since_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    beating = Beating(monkeypatch, in_threads=True)
    beating.beat(5.0, LOOP, THREAD)
    asked_at = beating.now
    beating.now += 0.1
    assert beating.pulse.leased_at(asked_at, WAIT) == asked_at
    assert beating.pulse.leased_at(asked_at, 0.0) == asked_at


@pytest.mark.parametrize("beats_since", [0, 1])
def test_an_answer_that_a_standstill_may_have_held_up_came_before_it(
    monkeypatch: pytest.MonkeyPatch, beats_since: int
) -> None:
    """Whoever goes on first after it, who beats or who looks."""
    beating = Beating(monkeypatch, in_threads=True)
    asked_at = beating.now
    beating.beat(1.0, LOOP, THREAD)
    stands_since = beating.now
    beating.now += 5.0
    for _ in range(beats_since):
        beating.pulse.beat_in_thread()
        beating.pulse.beat_in_loop()
    found = beating.pulse.leased_at(asked_at, WAIT)
    assert found == pytest.approx(stands_since - AGE)


def test_a_standstill_that_is_over_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    beating = Beating(monkeypatch, in_threads=True)
    asked_at = beating.now
    beating.now += 5.0
    beating.beat(2 * AGE, LOOP, THREAD)
    assert beating.pulse.leased_at(asked_at, WAIT) == pytest.approx(beating.now - AGE)


@pytest.mark.parametrize("goes_by", [LOOP, THREAD])
def test_a_blocked_loop_holds_up_only_what_comes_through_it(
    monkeypatch: pytest.MonkeyPatch, goes_by: str
) -> None:
    beating = Beating(monkeypatch, in_threads=goes_by is THREAD)
    asked_at = beating.now
    beating.beat(1.0, LOOP, THREAD)
    blocked_since = beating.now
    beating.beat(2.0, THREAD)
    found = beating.pulse.leased_at(asked_at, WAIT)
    if goes_by is LOOP:
        assert found == pytest.approx(blocked_since - AGE)
    else:
        assert found == pytest.approx(beating.now - AGE)


def test_an_answer_that_comes_later_than_its_call_waits_is_as_old_as_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server or a proxy held it up, and may have done so all the time."""
    beating = Beating(monkeypatch, in_threads=True)
    asked_at = beating.now
    beating.beat(WAIT + 2 * AGE, LOOP, THREAD)
    assert beating.pulse.leased_at(asked_at, WAIT) == asked_at
