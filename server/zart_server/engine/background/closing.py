"""Closes the rows of released attempts that were leased, at whatever pace these are let go.

Else they would stand, more of them each second, and StopRelease goes through all that stand while
nobody can lease.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from zart_server.store.db import Database
from zart_server.store.patience import BRIEFLY
from zart_server.store.pausing.closing import close_leased, find_leased
from zart_server.store.pausing.rules import share_pause_lock

_FOUND = 20_000  # at once, without a lock
_CLOSED = 2_000  # in one transaction: whoever pauses waits for its end
_EVERY = 1.0  # seconds
_SHARE = 4.0  # a look that finds all, but little, rests so many times as long as it took


class Closing:
    """What one server closes of the rules whose steps it lets go, beside the pieces of these."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._next: dict[int, float] = {}  # when a rule is looked at again

    def keep_only(self, rule_keys: Collection[int]) -> None:
        """Forget all rules but these."""
        for key in self._next.keys() - set(rule_keys):
            del self._next[key]

    def due(self, rule_keys: Collection[int]) -> list[int]:
        """Return those of some rules that are to be looked at by now."""
        now = time.monotonic()
        return [key for key in sorted(rule_keys) if self._next.get(key, 0.0) <= now]

    async def close(self, rule_key: int) -> None:
        """Close rows of a rule until a look finds few: as fast as they come, if need be."""
        self._next[rule_key] = time.monotonic() + _EVERY  # should it fail
        is_more = True
        while is_more:
            begun = time.monotonic()
            async with self._db.autocommit() as connection:
                leased = await find_leased(connection, rule_key, _FOUND)
            took = time.monotonic() - begun
            closed = 0
            for first in range(0, len(leased), _CLOSED):
                async with self._db.transaction(first=BRIEFLY) as tx:
                    await share_pause_lock(tx)
                    closed += await close_leased(tx, rule_key, leased[first : first + _CLOSED])
            is_more = len(leased) == _FOUND and closed > 0
        self._next[rule_key] = time.monotonic() + max(_EVERY, took * _SHARE)
