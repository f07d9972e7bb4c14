"""The watched executions whose reads took longer than a statement may: read alone, and seldom.

One reader reads for all watches, so that each such read keeps all of them waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

_Wanted: TypeAlias = tuple[str, int | None]
_REST = 4  # times as long as the read took, in which none of them is read
_MOST = 1_000  # that are remembered


def _now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(slots=True)
class _Late:
    """One that took too long when it was read alone, and was not read since."""

    before: int  # how many reads had succeeded when it did so first
    at: float = 0.0  # when it did so last
    is_slow: bool = False


class SlowReads:
    """The executions, or runs of them, that could not be read in time while others could be.

    Where nothing was read between two reads of one that took too long, it may be the database.
    """

    def __init__(self, clock: Callable[[], float] = _now) -> None:
        self._now = clock
        self._late: dict[_Wanted, _Late] = {}  # the one that was so longest ago is first
        self._succeeded = 0  # reads
        # The last ones that took too long together: how many reads had succeeded then.
        self._together: dict[_Wanted, int] = {}
        self._rest_until = 0.0

    def __contains__(self, wanted: _Wanted) -> bool:
        late = self._late.get(wanted)
        return late is not None and late.is_slow

    @property
    def may_read(self) -> bool:
        """Whether one of them may be read now."""
        return self._now() >= self._rest_until

    def late_at(self, wanted: _Wanted) -> float:
        """Return when a read of this one alone, slow or not, last took too long; 0: none did."""
        late = self._late.get(wanted)
        return 0.0 if late is None else late.at

    def timed_out(self, wanted: Sequence[_Wanted], begun: float) -> None:
        """Note those of one read, which began then and took too long.

        One that was read alone is slow if others could be read since it took too long before.
        """
        if len(wanted) > 1:
            self._together = dict.fromkeys(wanted, self._succeeded)
            return
        (alone,) = wanted
        late = self._late.pop(alone, None) or _Late(self._succeeded)
        self._late[alone] = late
        if len(self._late) > _MOST:
            del self._late[next(iter(self._late))]
        late.at = self._now()
        if late.is_slow or self._together.get(alone, late.before) < self._succeeded:
            late.is_slow = True
            self._rest_until = late.at + _REST * (late.at - begun)

    def were_read(self, wanted: Collection[_Wanted]) -> None:
        """Forget those that could be read."""
        self._succeeded += 1
        if self._late or self._together:
            for each in wanted:
                self._late.pop(each, None)
                self._together.pop(each, None)
