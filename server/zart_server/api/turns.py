"""Brings calls together: those that come while others are being done have the next turn together.

It decides when a call is done and with which others; what is done in a turn is its user's.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from zart_server.api.outliving import Outliving

# Turns, while calls come so slowly that each has its own: none waits for another's. Where they come
# faster one at a time does more of them: each has more calls.
_AT_ONCE = 2
_MOST_AT_ONCE = 4  # with those that take long and count: each has a connection that others need
_FEW = 1.5  # calls, in most turns: they come slowly
_LATELY = 8  # turns, of which it is known how many calls they had
PATIENCE = 0.02  # seconds that one may hold up those after it


class Waits(Protocol):
    """A call that waits for its turn; nobody wants it any longer once it is ``done``."""

    @property
    def done(self) -> asyncio.Future[Any]:
        """Its answer."""

    @property
    def names(self) -> Iterable[object]:
        """What it is about: two calls about the same thing have no turn together."""


W = TypeVar("W", bound=Waits)


@dataclass(eq=False, slots=True)
class Turn(Generic[W]):
    """A turn and its calls. It ends when they are done, or when it has held others up for long.

    ``is_slow``: it has held others up for long, but counts until its calls are done.
    """

    calls: Sequence[W] = ()
    timer: asyncio.TimerHandle | None = None
    is_slow: bool = False
    is_over: bool = False


class Turns(Generic[W]):
    """The turns of calls of one kind, each of ``most`` calls at most, which ``do`` does.

    A call that comes alone has its turn at once, beside another one; while calls come so fast that
    most turns have several, there is one turn at a time. A turn that takes longer than ``PATIENCE``
    holds up none after it. Those of one call end then; those of several, too, but with
    ``counts_slow`` they count as long as they last: there are no more than ``_MOST_AT_ONCE``.
    ``weigh`` tells how much a call is, of which a turn of several has ``heaviest`` at most.

    A turn that a call begins is within its trace, one that follows another turn within none. What
    is done in it knows no caller by context variables: each call brings along what it needs.
    """

    def __init__(
        self,
        most: int,
        do: Callable[[Turn[W]], Awaitable[None]],
        outliving: Outliving,
        *,
        counts_slow: bool = False,
        weigh: Callable[[W], int] = lambda _call: 0,
        heaviest: float = math.inf,
    ) -> None:
        self._most = most
        self._do = do
        self._outliving = outliving
        self._counts_slow = counts_slow
        self._weigh = weigh
        self._heaviest = heaviest
        self._waiting: list[W] = []
        self._under_way = 0
        self._slow = 0  # of those under way
        self._usual = 1.0  # how many calls a turn had lately

    def add(self, call: W) -> None:
        """Have a call done, with those that come meanwhile; a lone one is done at once."""
        self._waiting.append(call)
        if self._has_room():
            self._start(self._begin())

    def begin_alone(self) -> Turn[W] | None:
        """Begin the turn of a call that its caller does, and then ends; None if it has to wait."""
        if not self._has_room():
            return None
        turn = self._begin()
        self._time(turn, 1)
        return turn

    def end(self, turn: Turn[W]) -> None:
        """Let those that wait go on, once for each turn."""
        if turn.timer is not None:
            turn.timer.cancel()
        if turn.is_over:
            return
        turn.is_over = True
        self._slow -= turn.is_slow
        self._under_way -= 1
        self._go_on()

    def _has_room(self) -> bool:
        """Return whether there may be one more turn beside those under way."""
        quick = self._under_way - self._slow
        return self._under_way < _MOST_AT_ONCE and (
            not quick or (quick < _AT_ONCE and self._usual < _FEW)
        )

    def _go_on(self) -> None:
        if self._waiting and self._has_room():
            turn = self._begin()
            self._take(turn)
            # Within no trace: it would be that of the turn before, and so of one long ago.
            self._start(turn, Context())

    def _begin(self) -> Turn[W]:
        self._under_way += 1
        return Turn()

    def _start(self, turn: Turn[W], context: Context | None = None) -> None:
        self._outliving.keep(asyncio.create_task(self._work(turn), context=context))

    async def _work(self, turn: Turn[W]) -> None:
        try:
            if not turn.calls:
                self._take(turn)  # what comes at once is together
            if turn.calls:
                await self._do(turn)
        finally:
            self.end(turn)

    def _take(self, turn: Turn[W]) -> None:
        """Take the calls of a turn, if any still wait."""
        batch: list[W] = []
        left: list[W] = []
        taken: set[object] = set()
        weight = 0
        for call in self._waiting:
            if call.done.done():
                continue
            names, heavier = call.names, weight + self._weigh(call)
            fits = not batch or (len(batch) < self._most and heavier <= self._heaviest)
            if fits and taken.isdisjoint(names):
                batch.append(call)
                taken.update(names)
                weight = heavier
            else:
                left.append(call)
        self._waiting = left
        if batch:
            turn.calls = batch
            self._time(turn, len(batch))

    def _time(self, turn: Turn[W], calls: int) -> None:
        self._usual += (calls - self._usual) / _LATELY
        late = self._keep if calls > 1 and self._counts_slow else self.end
        turn.timer = asyncio.get_running_loop().call_later(PATIENCE, late, turn)

    def _keep(self, turn: Turn[W]) -> None:
        """Let those that wait go on beside a turn that takes long, but counts."""
        turn.is_slow = True
        self._slow += 1
        self._go_on()
