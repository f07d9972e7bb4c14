"""An event loop whose clock stands until a test moves it on, however long the test takes."""

from __future__ import annotations

import asyncio

_PASSES = 50  # of the loop: more than what is begun by one another takes to come to rest


class StandingClock(asyncio.SelectorEventLoop):
    """No timer of it ends meanwhile: only what is done is seen, not how fast."""

    _now = 0.0

    def time(self) -> float:
        """Return the seconds that tests have let pass."""
        return self._now

    async def at_rest(self) -> None:
        """Wait until all that can go on without news from outside has."""
        for _ in range(_PASSES):
            await asyncio.sleep(0)

    async def passed(self, seconds: float) -> None:
        """Let time pass, and go on what waited for it."""
        self._now += seconds
        await self.at_rest()
