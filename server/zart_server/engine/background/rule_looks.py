"""Looks each second for what is due of pause rules: ends those whose time is up, kicks the sweeps.

By itself, so that no locked table of theirs holds up expired leases or due tasks, nor these it.
"""

from __future__ import annotations

import asyncio
import logging
import time

from zart_server.domain.errors import ZartError
from zart_server.engine.background.breakers import Breakers
from zart_server.engine.background.drains import Drains
from zart_server.engine.background.loop import BackgroundLoop
from zart_server.engine.background.pause_sweeps import PauseSweeps
from zart_server.engine.background.releases import Releases
from zart_server.engine.operations.expire import expire
from zart_server.store.changes import SOON
from zart_server.store.db import Database
from zart_server.store.pausing.rules import pauses_due

_log = logging.getLogger(__name__)
_TICK = SOON  # seconds between two looks, unless a rule expires earlier
_SHORTEST = 0.01


class RuleLooks(BackgroundLoop):
    """The looks at pause rules of one server."""

    def __init__(
        self,
        db: Database,
        sweeps: PauseSweeps,
        drains: Drains,
        releases: Releases,
        breakers: Breakers,
    ) -> None:
        super().__init__("looking after pause rules", first=0.0)
        self._db = db
        self._sweeps = sweeps
        self._drains = drains
        self._releases = releases
        self._breakers = breakers
        self._expiring: asyncio.Task[None] | None = None
        self.done_at = time.monotonic()  # when nothing was left to end

    @property
    def is_beside(self) -> bool:
        """Whether rules are ended beside the turns."""
        return self._expiring is not None and not self._expiring.done()

    async def stop(self) -> None:
        """End the loop; a rule whose end is under way is ended by another replica."""
        if self._expiring is not None:
            self._expiring.cancel()
            await asyncio.gather(self._expiring, return_exceptions=True)
        await super().stop()

    async def turn(self) -> float:
        """Have done what is due, and return the seconds until the next look."""
        async with self._db.autocommit() as connection:
            pauses = await pauses_due(connection)
        # A turn of the sweep goes on by itself: kicked, it would be cut short for a Resume.
        if pauses.is_work_left and not self._sweeps.is_in_turn:
            self._sweeps.kick()
        if pauses.is_any_undrained:
            self._drains.kick()
        if pauses.is_any_releasing:
            self._releases.kick()
        if pauses.is_any_breaker:
            self._breakers.begin()
        if pauses.expires_in is not None and pauses.expires_in <= 0:
            self._begin_to_expire()
        else:
            self.done_at = time.monotonic()
        return _until_end(pauses.expires_in)

    def _begin_to_expire(self) -> None:
        """End some expired rules in a task of its own, as that may wait long for the pause lock."""
        if self._expiring is None or self._expiring.done():
            self._expiring = asyncio.create_task(self._expire(), name="expiry")

    async def _expire(self) -> None:
        try:
            async with self._db.autocommit() as connection:
                await expire(connection)
            self.kick()  # more rules may be left
        except ZartError as error:
            self.count(error)
            _log.warning("the end of pause rules has to wait: %s", error.message)
        except Exception as error:  # noqa: BLE001 - told in full; it is tried again
            self.count(error)
            _log.exception("the end of pause rules failed; it is tried again")


def _until_end(expires_in: float | None) -> float:
    """Return the seconds until the next look, given those until a rule ends, or since."""
    if expires_in is None or expires_in <= 0:
        return _TICK
    return min(max(expires_in, _SHORTEST), _TICK)
