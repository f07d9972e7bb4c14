"""The wait before a dispatcher repeats a call that was not answered."""

from __future__ import annotations

import asyncio
import random

_FIRST = 0.1  # seconds
_LONGEST = 5.0


class Backoff:
    """A delay that doubles from a tenth of a second to ``longest`` seconds, with jitter."""

    def __init__(self, longest: float = _LONGEST) -> None:
        self._longest = longest
        self._delay = _FIRST

    async def wait(self) -> None:
        """Wait, each time longer than before."""
        await asyncio.sleep(self.delay())

    def delay(self) -> float:
        """Return the seconds to wait, each time more than before."""
        delay = self._delay * random.uniform(0.5, 1.0)  # noqa: S311 - only jitter
        self._delay = min(self._delay * 2, self._longest)
        return delay

    def reset(self) -> None:
        """Begin anew: the server is there."""
        self._delay = _FIRST
