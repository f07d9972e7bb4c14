"""Opens breakers, and lets their steps try: looks each half second, whichever server it is.

What succeeds costs nothing here; for breakers with a ratio ``TellingCompleted`` tells it.
Without any breaker nothing is looked at: CreateBreaker begins it on its server, on the others
``RuleLooks``, which look each second.
"""

from __future__ import annotations

import asyncio
import logging
import random

from zart_server.domain.breakers import BreakerStatus
from zart_server.domain.model import StepError
from zart_server.engine.background.failure_counting import CountedFailures, FailureCounting
from zart_server.engine.background.loop import BackgroundLoop
from zart_server.engine.background.telling_completed import TellingCompleted
from zart_server.engine.operations.probe_breaker import (
    conclude_probes,
    half_open_breaker,
    let_probes_go,
)
from zart_server.engine.operations.trip_breaker import open_by_itself
from zart_server.store.breaking.counts import (
    Reached,
    count_failed,
    find_failed,
    find_reached,
    find_updated,
    has_breakers,
    purge_counts,
    read_error,
    take_look,
)
from zart_server.store.breaking.probes import find_probes
from zart_server.store.breaking.states import DueBreaker, find_due
from zart_server.store.db import Database
from zart_server.store.patience import BRIEFLY

_log = logging.getLogger(__name__)
_TICK = 0.5  # seconds
_PURGE_EVERY = 60.0


class Breakers(BackgroundLoop):
    """The breakers as one server looks after them; servers share each piece of work."""

    def __init__(self, db: Database, telling: TellingCompleted) -> None:
        super().__init__("looking after breakers", first=_TICK)
        self._db = db
        self._telling = telling
        self._failures = FailureCounting()
        self._next_purge = 0.0
        self._is_any = False  # breaker, as the last turn saw

    def begin(self) -> None:
        """Have the looks begin, as there is a breaker; they end once there is none."""
        if not self._is_any:
            self.kick()

    async def turn(self) -> float | None:
        """Look after what breakers there are."""
        async with self._db.autocommit() as connection:
            self._is_any = await has_breakers(connection)
        self._telling.go_on(is_any=self._is_any)
        # What this server completed is told before anything is judged: where it cannot be, this
        # turn fails. Without a breaker, nobody asks for it any more.
        await self._telling.tell()
        if self._is_any:
            await self._look_after()
        now = asyncio.get_running_loop().time()
        if now >= self._next_purge or not self._is_any:
            self._next_purge = now + _PURGE_EVERY
            async with self._db.autocommit() as connection:
                await purge_counts(connection)
        return _TICK if self._is_any else None

    async def _look_after(self) -> None:
        """Look for what ended badly, open what is to open, and let its steps try."""
        for reached, error in await self._look():
            await self.one_of_several(self._open(reached, error))
        async with self._db.autocommit() as connection:
            due = await find_due(connection)
        # Each server in another order: what one has done by then, others need not wait for.
        random.shuffle(due)
        for breaker in due:
            await self.one_of_several(self._probe(breaker))

    async def _open(self, reached: Reached, error: StepError | None) -> None:
        """Open a breaker that has counted enough, for the last error."""
        async with self._db.autocommit() as connection:
            opened = await open_by_itself(connection, *reached, error)
        if opened is not None:
            _log.warning("breaker %s opened: %s", opened.breaker_id, opened.rule_id)

    async def _probe(self, breaker: DueBreaker) -> None:
        """Have steps of a breaker try, or see what became of those that did."""
        name = breaker.breaker_id
        if breaker.status is BreakerStatus.OPEN or breaker.is_ahead:
            async with self._db.autocommit() as connection:
                if not await half_open_breaker(connection, name):
                    return
            _log.info("breaker %s is half open", name)
        async with self._db.autocommit() as connection:
            probes = await find_probes(connection, name)
        if probes is None:
            return
        if probes.bad or probes.good >= probes.wanted:
            async with self._db.autocommit() as connection:
                status = await conclude_probes(connection, name, probes)
            if status is not None:
                _log.warning("breaker %s is %s by its probes", name, status)
        elif probes.missing and breaker.has_line:
            async with self._db.transaction(first=BRIEFLY) as tx:
                await let_probes_go(tx, probes, name)

    async def _look(self) -> list[tuple[Reached, StepError | None]]:
        """Count what ended badly since the last look; return who is to open, and the last error.

        One that opens since its settings were changed has none, unless something ended just now.
        """
        async with self._db.transaction() as tx:
            since = await take_look(tx)
            if since is None:
                return []
            found = CountedFailures()
            if failed := await find_failed(tx, since):
                found = await self._failures.counted(tx, failed)
            if found.counts or found.others:
                await count_failed(tx, found.counts, found.others)
            young = dict.fromkeys(await find_updated(tx, since), 0) | found.young
            if not young:
                return []
            last = found.last
            return [
                (reached, await read_error(tx, last[key]) if key in last else None)
                for key, reached in (await find_reached(tx, young)).items()
            ]
