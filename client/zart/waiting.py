"""How clients wait for a run: what a broken watch is worth, and what the end means."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import AsyncIterable, Iterable
from typing import TypeVar

from zart.errors import RunFailed, Unavailable, Unreachable, ZartError
from zart.models import Json, Run, RunStatus

T = TypeVar("T")

_FIRST_DELAY = 0.1  # seconds
_LONGEST_DELAY = 2.0


class Reconnecting:
    """Decides whether a watch that broke is taken up again, and when."""

    def __init__(self) -> None:
        self._was_answered = False
        self._delays = self._fresh()

    def answered(self) -> None:
        """Note that the server is there."""
        self._was_answered = True
        self._delays = self._fresh()

    def delay_after(self, problem: ZartError) -> float:
        """Return the seconds to wait before watching again; raises what no repeat can cure."""
        if isinstance(problem, Unavailable):
            return next(self._delays)
        if isinstance(problem, Unreachable) and self._was_answered:
            return next(self._delays)
        raise problem

    @staticmethod
    def _fresh() -> itertools.chain[float]:
        doubling = itertools.takewhile(
            lambda delay: delay < _LONGEST_DELAY, (_FIRST_DELAY * 2**n for n in itertools.count())
        )
        return itertools.chain(doubling, itertools.repeat(_LONGEST_DELAY))


async def last_of(states: AsyncIterable[T]) -> T:
    """Return the last state that a watch tells. Raises Unreachable where there is none."""
    last: deque[T] = deque(maxlen=1)
    async for state in states:
        last.append(state)
    return _only(last)


def last_in(states: Iterable[T]) -> T:
    """Return the last state that a watch tells, as ``last_of``."""
    return _only(deque(states, maxlen=1))


def _only(last: deque[T]) -> T:
    if not last:
        raise Unreachable("the watch ended without a message")
    return last[0]


def result_of(run: Run) -> Json:
    """Return the result of a finished run. Raises RunFailed."""
    if run.status is not RunStatus.COMPLETED:
        raise RunFailed(run)
    return run.result
