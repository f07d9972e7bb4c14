"""How fast a pass of retention goes: it keeps up with what ends, and looks seldom at what stays."""

from __future__ import annotations

import pytest

from zart_server.engine.background.pass_pace import PassPace
from zart_server.engine.background.piece_size import time_to_leave

_PIECE = 0.1  # seconds that a piece takes, or a look at as many that stay


def after_a_pass(now: float, oldest: float, removed_in: float, looks: int) -> tuple[float, float]:
    """Go through one pass; return when the next one begins, and when the oldest left had ended.

    To remove what became due in one second takes ``removed_in`` seconds; then so many are looked at
    that were at work when the pass began.
    """
    pace = PassPace(now)
    until = now
    while oldest < until:
        now += _PIECE
        pace.removes = True
        now += time_to_leave(_PIECE, pace.overdue(until - oldest, now))
        oldest += _PIECE / removed_in
    for _ in range(looks):
        pace.idle += _PIECE
        now += _PIECE
        now += time_to_leave(_PIECE, pace.behind(now))
    return now + pace.rest(now), until


@pytest.mark.parametrize("removed_in", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("looks", [0, 5, 20])
def test_it_keeps_up_with_what_ends(removed_in: float, looks: int) -> None:
    now, oldest = 0.0, 0.0
    late = []
    while now < 3600:
        now, oldest = after_a_pass(now, oldest, removed_in, looks)
        late.append(now - oldest)

    assert max(late[len(late) // 2 :]) < 60


def test_it_catches_up_with_what_has_become_due_in_a_day() -> None:
    now, oldest = 86_400.0, 0.0
    while now - oldest > 60 and now < 4 * 86_400:
        now, oldest = after_a_pass(now, oldest, 0.5, 5)

    assert now - oldest <= 60


def test_to_look_at_what_stays_takes_a_twentieth_of_the_time() -> None:
    begun = now = 0.0
    looked = 0.0
    for _ in range(10):
        pace = PassPace(now)
        for _ in range(300):
            pace.idle += _PIECE
            now += _PIECE
            now += time_to_leave(_PIECE, pace.behind(now))
        now += pace.rest(now)
        looked += pace.idle

    assert looked / (now - begun) == pytest.approx(0.05, rel=0.02)


def test_a_pass_hurries_past_what_stays_only_while_it_removes() -> None:
    assert PassPace(0.0).behind(100.0) == 0.0
    assert PassPace(0.0, removes=True).behind(100.0) == 100.0


def test_a_rest_has_a_least_and_a_longest() -> None:
    assert PassPace(0.0).rest(1.0) == 5.0
    assert PassPace(0.0, idle=1000.0).rest(2000.0) == 600.0
