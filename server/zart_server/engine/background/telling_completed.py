"""Tells what one server's attempts completed, for breakers with a ratio: each half second.

A loop of its own, which waits for no lock that somebody holds: any server judges by what is told,
and what is told late is missing beside what failed, so that a breaker would open for nothing.
"""

from __future__ import annotations

import asyncio
import logging

from zart_server.domain.errors import ZartError
from zart_server.engine.background.loop import BackgroundLoop
from zart_server.engine.dispatch.completions import Completions
from zart_server.store.breaking.counts import count_completed, find_counting_ratios
from zart_server.store.db import Database

_log = logging.getLogger(__name__)
_TICK = 0.5  # seconds
_LAST = 1.0  # that telling what is left may take as the server stops


class TellingCompleted(BackgroundLoop):
    """What one server tells of ``completions``, as long as there is any breaker."""

    def __init__(self, db: Database, completions: Completions) -> None:
        super().__init__("telling what was completed", first=None)
        self._db = db
        self._completions = completions
        self._is_any = False
        self._one = asyncio.Lock()

    def go_on(self, *, is_any: bool) -> None:
        """Have the loop go on as long as there is a breaker, as the last look at them saw."""
        if is_any and not self._is_any:
            self.kick()
        self._is_any = is_any

    async def turn(self) -> float | None:
        """Tell what was completed since the last time."""
        await self.tell()
        return _TICK if self._is_any else None

    async def stop(self) -> None:
        """End the loop, and tell what was completed last; nothing more is to be reported."""
        await super().stop()
        try:
            async with asyncio.timeout(_LAST):
                await self.tell()
        except (ZartError, TimeoutError):
            _log.warning("what was completed last could not be told to breakers")
        except Exception:  # noqa: BLE001 - told in full; what is left of the server is to stop, too
            _log.exception("what was completed last could not be told to breakers")

    async def tell(self) -> None:
        """Learn for which breakers to count, and store what was completed since the last time.

        For one that is new that is all since its generation began. What could not be counted or
        stored is the next time.
        """
        async with self._one:
            async with self._db.autocommit() as connection:
                self._completions.ask(await find_counting_ratios(connection))
            await self._store()
            while self._completions.has_earlier:
                async with self._db.autocommit() as connection:
                    await self._completions.count_earlier(connection)
                await self._store()

    async def _store(self) -> None:
        """Store what was counted since the last time."""
        taken = self._completions.take()
        if not taken:
            return
        try:
            async with self._db.autocommit() as connection:
                await count_completed(connection, taken)
        except BaseException:
            self._completions.give_back(taken)
            raise
