"""How long a dispatcher waits before it asks a server that did not answer once more."""

from __future__ import annotations

import asyncio
import random

_FIRST = 0.1  # seconds
_LONGEST = 5.0


class Backoff:
    """Doubles from a tenth of a second to five, with jitter."""

    def __init__(self) -> None:
        self._delay = _FIRST

    async def wait(self) -> None:
        """Wait, longer from time to time."""
        await asyncio.sleep(self.delay())

    def delay(self) -> float:
        """Return for how many seconds to wait, more from time to time."""
        delay = self._delay * random.uniform(0.5, 1.0)  # noqa: S311 - only jitter
        self._delay = min(self._delay * 2, _LONGEST)
        return delay

    def reset(self) -> None:
        """Begin anew: the server is there."""
        self._delay = _FIRST
