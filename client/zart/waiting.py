"""How clients wait for a run: what a broken watch is worth, and what the end means."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import TypeVar

from zart.errors import Unavailable, Unreachable, ZartError
from zart.outages import Standing, taken

T = TypeVar("T")

_FIRST_DELAY = 0.1  # seconds
_LONGEST_DELAY = 2.0


class Reconnecting:
    """Decides whether a watch that broke is taken up again, and when.

    ``on_break`` is called once a break: at the first problem since the last message.
    ``problem`` is the last one since then, None where the server is there, as far as is known.
    ``standing`` knows whether the client was ever answered; None: only this watch counts.
    """

    def __init__(
        self,
        on_break: Callable[[], object] | None = None,
        standing: Standing | None = None,
    ) -> None:
        self.problem: ZartError | None = None
        self._on_break = on_break or (lambda: None)
        self._standing = standing if standing is not None and standing.repeats else Standing()
        self._delays = self._fresh()

    def answered(self) -> None:
        """Note that the server is there."""
        self.problem = None
        self._standing.was_answered = True
        self._delays = self._fresh()

    def delay_after(self, problem: ZartError) -> float:
        """Return the seconds to wait before watching again; raises what no repeat can cure."""
        is_lost = isinstance(problem, Unreachable) and self._standing.was_answered
        if not is_lost and not isinstance(problem, Unavailable):
            try:
                raise problem
            finally:
                del problem  # as ``taken``
        is_first = self.problem is None
        self.problem = problem
        if is_first:
            self._on_break()
        return next(self._delays)

    @contextlib.contextmanager
    def explaining(self) -> Iterator[None]:
        """Have who gives up waiting know of the problem, as the cause of the CancelledError."""
        try:
            yield
        except asyncio.CancelledError as cancelled:
            if self.problem is not None:
                cancelled.__cause__ = taken(self)
            raise

    @staticmethod
    def _fresh() -> itertools.chain[float]:
        doubling = itertools.takewhile(
            lambda delay: delay < _LONGEST_DELAY, (_FIRST_DELAY * 2**n for n in itertools.count())
        )
        return itertools.chain(doubling, itertools.repeat(_LONGEST_DELAY))


@contextlib.asynccontextmanager
async def within(timeout: float | None) -> AsyncIterator[None]:
    """Wait so many seconds at most, None: for ever. Raises TimeoutError.

    Raises in its place what the watch that is waited for last broke with, if it told nothing since:
    what became of things by then nobody knows.
    """
    try:
        async with asyncio.timeout(timeout):
            yield
    except TimeoutError as late:
        cancelled = late.__cause__
        problem = None if cancelled is None else cancelled.__cause__
        try:
            if cancelled is not None and isinstance(problem, ZartError):
                cancelled.__cause__ = None  # contextlib's frames know it
                raise problem from None
            raise
        finally:
            del cancelled, problem  # as ``taken``


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
