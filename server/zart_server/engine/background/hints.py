"""The watched executions to be read again, and when: ended ones at once, the others later."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections.abc import Callable

from zart_server.engine.background.followed import Followed

_GATHER = 0.015  # seconds in which changes that are not urgent are collected
_REST = 19  # times as long as the read took
# Urgent changes are read at once; if there are many, reads take a third of the time, and a smaller
# share the more is watched, to a ninth: they are fewer then and larger, which costs less.
_REST_URGENT = 2
_REST_CROWD = 8
_CROWD = 300  # watched executions
_AT_ONCE = 0.05  # seconds of reading and rest that may be saved up
# Seconds that changes which are not urgent wait for urgent ones. Many executions change again or
# end meanwhile, and then are read once.
_GIVES_WAY = 0.25
# Seconds: no rest is longer. A read that had to wait, for a lock or a connection, tells nothing of
# what reads cost.
_LONGEST = 0.5
_LONGEST_OTHERS = 2.0
_STEPS = 2_000  # about so many steps are read at a time


def _now() -> float:
    return asyncio.get_running_loop().time()


class Hints:
    """The watched executions of one server that may have changed since they were read."""

    def __init__(self, clock: Callable[[], float] = _now) -> None:
        self._now = clock
        self._urgent: dict[Followed, None] = {}
        self._others: dict[Followed, float] = {}  # since when
        self._urgent_at = 0.0  # when urgent changes may be read next
        self._others_at = 0.0
        self._crowded_until = 0.0
        self._something = asyncio.Event()

    def add(self, followed: Followed, *, at_once: bool) -> None:
        """Have an execution read, ``at_once`` or with others that are not urgent."""
        # When any is due depends on the first one: whoever waits knows of it.
        if at_once:
            self._others.pop(followed, None)
            is_first = not self._urgent
            self._urgent[followed] = None
        elif followed not in self._urgent:
            is_first = not self._others
            if followed not in self._others:
                self._others[followed] = self._now()
        else:
            return
        if is_first:
            self._something.set()

    def drop(self, followed: Followed) -> None:
        """Forget an execution that is no longer watched."""
        self._urgent.pop(followed, None)
        self._others.pop(followed, None)

    def wake(self) -> None:
        """End a wait for hints."""
        self._something.set()

    async def wait(self) -> None:
        """Wait until an execution may be due to be read, or was added to none."""
        due = self._urgent_at if self._urgent else math.inf
        if self._others:
            since = next(iter(self._others.values()))
            due = min(due, max(self._others_at, self._due(since)))
        if due > self._now():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(None if due == math.inf else due):
                    await self._something.wait()
        self._something.clear()

    def take_urgent(self) -> list[Followed]:
        """Remove and return some urgent executions, if it is time to read them; none twice."""
        return _taken(self._urgent, len(self._urgent)) if self._urgent_at <= self._now() else []

    def take_others(self) -> list[Followed]:
        """Remove and return some executions that have waited long enough; none twice."""
        now = self._now()
        if self._others_at > now:
            return []
        due = itertools.takewhile(lambda since: self._due(since) <= now, self._others.values())
        return _taken(self._others, sum(1 for _ in due))

    def urgent_were_read(self, begun: float, watched: int) -> None:
        """Set when urgent ones may be read next, and that the others wait, up to a bound.

        ``watched``: how many executions are. Whoever starts one after the other is told soon.
        """
        now = self._now()
        took = now - begun
        crowd = min(watched / _CROWD, 1)
        share = _REST_URGENT + (_REST_CROWD - _REST_URGENT) * crowd
        due = max(self._urgent_at, begun - _AT_ONCE) + took * (1 + share)
        self._urgent_at = min(due, now + _LONGEST)
        rest = max(self._crowded_until, now) + took * _REST
        self._crowded_until = min(rest, now + _GIVES_WAY)

    def others_were_read(self, begun: float) -> None:
        """Set when others may be read next, by the time that this read took."""
        now = self._now()
        self._others_at = now + min((now - begun) * _REST, _LONGEST_OTHERS)

    def _due(self, since: float) -> float:
        """Return when an execution is due that was added, not as urgent, at ``since``."""
        return max(since + _GATHER, min(self._crowded_until, since + _GIVES_WAY))


def _taken(hinted: dict[Followed, None] | dict[Followed, float], most: int) -> list[Followed]:
    """Remove and return some of the first ``most`` hinted executions: about ``_STEPS`` steps."""
    taken: dict[str, Followed] = {}
    size = 0
    for followed in itertools.islice(hinted, most):
        if followed.wanted[0] not in taken:
            if taken and size + followed.size > _STEPS:
                break
            taken[followed.wanted[0]] = followed
            size += followed.size
    for followed in taken.values():
        del hinted[followed]
    return list(taken.values())
