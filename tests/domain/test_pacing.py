"""The credit of a release, and which of several rules lets a step go."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from specification import credit_after, most_credit

from zart_server.domain.pacing import (
    FASTEST,
    SLOWEST,
    Line,
    NotDue,
    judge_release,
    most_unleased,
    seconds_left,
    seconds_until_next,
    whole_steps,
)

RATES = st.floats(SLOWEST, FASTEST)


@given(RATES, st.lists(st.tuples(st.floats(0, 30), st.floats(0, 1)), max_size=100))
def test_no_window_has_more_than_its_time_and_one_seconds_worth(
    rate: float, looks: list[tuple[float, float]]
) -> None:
    """However irregularly somebody looks, and whatever part of the credit is spent."""
    credit, now, moves = 1.0, 0.0, [(0.0, 0)]
    for seconds, part in looks:
        now += seconds
        credit = credit_after(credit, rate, seconds)
        spent = int(credit * part)
        credit -= spent
        moves.append((now, spent))
        assert 0 <= credit <= most_credit(rate)
        assert spent <= most_credit(rate)
    for begin in range(len(moves)):
        total = 0
        for at, spent in moves[begin:]:
            total += spent
            window = at - moves[begin][0]
            assert total <= most_credit(rate) + rate * window * (1 + 1e-9) + 1e-6


@given(RATES, st.floats(0.001, 0.1))
def test_whoever_looks_when_a_step_may_go_gives_the_whole_rate(rate: float, period: float) -> None:
    credit, now, released, late = 0.0, 0.0, 0, 0.0
    for _ in range(50):
        seconds = max(period, seconds_until_next(credit, rate))
        late += seconds - seconds_until_next(credit, rate)
        now += seconds
        credit = credit_after(credit, rate, seconds)
        released += whole_steps(credit)
        credit -= whole_steps(credit)
    lost = late * rate if rate < 1 / (1 - period) else 0  # the most is one step: no time to be late
    assert abs(released - rate * now) <= 1.001 + lost


@given(st.floats(0, 1), RATES)
def test_the_next_step_may_go_when_it_is_said(credit: float, rate: float) -> None:
    after = credit_after(credit, rate, seconds_until_next(credit, rate))
    assert after >= 1 - 1e-9 or credit >= 1


def test_ten_seconds_worth_may_be_unleased_but_ten_steps_at_least() -> None:
    assert [most_unleased(rate) for rate in (0.01, 1, 1.55, 40)] == [10, 10, 15, 400]


@given(
    st.integers(1, 8).flatmap(
        lambda n: st.tuples(
            st.lists(st.none() | st.sampled_from([0.5, 1.0, 1.0, 7.0]), min_size=n, max_size=n),
            st.permutations(range(n)),
            st.integers(0, n - 1),
        )
    )
)
def test_a_step_runs_once_all_let_it_go_and_the_slowest_pays(
    drawn: tuple[list[float | None], list[int], int],
) -> None:
    """Whoever's turn it is, and whoever has the step at first. A rule without a rate holds."""
    paces, _, at = drawn
    rates = {key: rate for key, rate in enumerate(paces) if rate is not None}
    matching = set(range(len(paces)))
    seen = []
    holder: int | None = at
    while holder is not None and holder in rates:
        seen.append(holder)
        release = judge_release(holder, matching - {holder}, rates)
        matching -= set(release.let_go_by)
        holder = release.withheld_by
    assert len(seen) == len(set(seen))  # it is never handed back
    if len(rates) < len(paces):
        assert holder is not None
        assert matching == set(range(len(paces)))  # nobody has let it go
    else:
        assert not matching
        assert seen[-1] == min(rates, key=lambda key: (rates[key], key))


def test_a_canary_is_let_go_by_its_rule_and_left_to_the_pace_of_the_others() -> None:
    assert judge_release(1, [], {}) == (None, (1,))
    assert judge_release(1, [2, 3], {3: 1.0}) == (2, ())
    assert judge_release(1, [2, 3], {2: 5.0, 3: 1.0}) == (3, (1,))


def test_those_beside_a_canary_let_it_go_with_it() -> None:
    assert judge_release(1, [2, 3], {}, beside=[2, 3, 4]) == (None, (1, 2, 3))
    assert judge_release(1, [2, 3], {3: 1.0}, beside=[2]) == (3, (1, 2))
    assert judge_release(1, [2, 3], {}, beside=[2]) == (3, ())


@given(st.integers(0, 10**6), st.integers(0, 10**6), RATES)
def test_the_end_is_when_the_line_is_gone(paused: int, released: int, rate: float) -> None:
    now = Line(paused, released)
    left = seconds_left(None, now, NotDue(), 0.0, rate)
    assert left == (paused / rate if paused else None)
    # What became ready meanwhile lengthens it, and as much as is released keeps it for ever.
    before = Line(paused, max(0, released - 100))
    arrived = released - before.released
    if paused and arrived:
        assert seconds_left(before, now, NotDue(), arrived / rate, rate) is None
        longer = seconds_left(before, now, NotDue(), 2 * arrived / rate, rate)
        assert longer is not None
        assert longer >= paused / rate


def test_what_left_the_line_without_credit_makes_it_no_longer() -> None:
    counts = [Line(100, 0), Line(50, 0), Line(40, 10)]
    found = [seconds_left(a, b, NotDue(), 1.0, 10.0) for a, b in pairwise(counts)]
    assert found == [5.0, 4.0]


# What is due of a line, and in how many seconds the rest of it will be.
LINES = st.tuples(st.integers(0, 1000), st.lists(st.floats(0.001, 1e6), max_size=30).map(sorted))


def not_due_of(seconds: list[float]) -> NotDue:
    return NotDue(len(seconds), seconds[0], seconds[-1]) if seconds else NotDue()


@given(LINES, RATES, st.booleans())
def test_the_end_is_never_before_all_are_due_nor_after_all_would_have_gone(
    line: tuple[int, list[float]],
    rate: float,
    has_left: bool,  # noqa: FBT001 - drawn
) -> None:
    """Beside a line of which each step goes as soon as it is due and the pace lets it."""
    due, later = line
    now = Line(due + len(later), 7)
    before = Line(now.paused + 1, now.released - 1) if has_left else None
    left = seconds_left(before, now, not_due_of(later), 1.0, rate)
    if not due and not (later and has_left):
        assert left is None
        return
    end = max([now.paused / rate, *(at + (len(later) - n) / rate for n, at in enumerate(later))])
    assert left is not None
    assert left >= max([now.paused / rate, *later])
    spread = later[-1] - later[0] if later else 0.0
    assert end - spread <= left * (1 + 1e-9)
    assert left <= end * (1 + 1e-9)


@given(st.lists(st.floats(0.001, 1e6), min_size=1).map(sorted), st.integers(0, 100), RATES)
def test_a_line_of_which_nothing_is_due_and_nothing_left_has_no_end(
    later: list[float], released: int, rate: float
) -> None:
    now = Line(len(later), released)
    for before in (None, now, Line(now.paused - 1, released)):  # one more backs off since
        assert seconds_left(before, now, not_due_of(later), 1.0, rate) is None
