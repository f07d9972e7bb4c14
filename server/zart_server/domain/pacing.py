"""How a rule lets paused steps go: at which pace, and which of several rules decides.

The credit is computed in SQL, by the database's clock; ``tests/specification.py`` has it in Python.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

SLOWEST, FASTEST = 0.01, 100_000.0  # steps a second
MOST_CANARIES = 10_000
_BACKLOG_SECONDS = 10.0
_LEAST_BACKLOG = 10


def seconds_until_next(credit: float, rate: float) -> float:
    """Return the seconds until a step may go."""
    return max(0.0, (1.0 - credit) / rate)


def whole_steps(credit: float) -> int:
    """Return how many steps a credit lets go; sums of times are not exact."""
    return int(credit + 1e-6)


def most_unleased(rate: float) -> int:
    """Return how many released steps may be queued and not leased; then a release waits."""
    return max(_LEAST_BACKLOG, int(_BACKLOG_SECONDS * rate))


@dataclass(frozen=True, slots=True)
class PauseRuleRelease:
    """How a rule lets its steps go at a pace, or did. ``expected_end_at`` None: nobody can tell."""

    rate_per_second: float
    released_steps: int
    started_at: datetime
    expected_end_at: datetime | None
    started_by: str
    waiting_for_dispatchers: bool


@dataclass(frozen=True, slots=True)
class StopRelease:
    """Have a releasing rule withhold again whatever it matches that is not leased."""

    rule_id: str


class Line(NamedTuple):
    """The paused steps of a release as they were counted, and how many it had released by then."""

    paused: int
    released: int


class NotDue(NamedTuple):
    """How many steps of a line back off, and in how many seconds the first and the last are due."""

    steps: int = 0
    first: float = 0.0
    last: float = 0.0


def seconds_left(
    before: Line | None, now: Line, not_due: NotDue, elapsed: float, rate: float
) -> float | None:
    """Return in how many seconds a release will have let all go; None if the line does not shrink.

    It grows by what becomes ready, as between the two counts, ``elapsed`` seconds apart. What backs
    off goes when it is due, at the same pace; where all does, and nothing has left the line since
    the count before, nothing leaves it.
    """
    arrived, has_left = 0, False
    if before is not None:
        arrived = max(0, now.paused - before.paused + now.released - before.released)
        has_left = now.released > before.released or now.paused < before.paused
    shrinks_by = rate - (arrived / elapsed if arrived else 0.0)
    if not now.paused or shrinks_by < rate / 1_000:
        return None
    if not_due.steps >= now.paused and not has_left:
        return None
    left = now.paused / shrinks_by
    if not_due.steps:
        left = max(left, not_due.first + not_due.steps / shrinks_by, not_due.last)
    return left


class Release(NamedTuple):
    """What becomes of a paused step whose rule is to let it go.

    ``withheld_by`` is the rule that withholds it from now on, None: it is queued. ``let_go_by`` are
    the rules that let the attempt go. Without the rule itself among them it costs no credit.
    """

    withheld_by: int | None
    let_go_by: tuple[int, ...] = ()


def judge_release(
    rule: int,
    others: Collection[int],
    rates: Mapping[int, float],
    beside: Collection[int] = (),
) -> Release:
    """Return what becomes of a step that ``rule`` and the ``others`` withhold; keys of rules.

    ``rates`` are those of the releasing rules. A step runs when every rule that matches it has let
    it go, so the slowest decides: it is handed to a rule that lets nothing go, else to the slowest,
    which lets it go for all. A rule that is not releasing itself (a canary) lets it go at once, and
    leaves the rest to the others' pace; with it do those ``beside`` it, which want canaries, too.
    """
    with_it = [other for other in others if other in beside]
    holding = [other for other in others if other not in rates and other not in beside]
    if holding:
        return Release(min(holding))
    paced = [other for other in others if other in rates]
    slowest = min(paced, key=lambda other: (rates[other], other), default=None)
    if rule not in rates:
        return Release(slowest, (rule, *sorted(with_it)))
    if slowest is not None and (rates[slowest], slowest) < (rates[rule], rule):
        return Release(slowest)
    return Release(None, (rule, *sorted(others)))
