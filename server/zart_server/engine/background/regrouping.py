"""Brings a newer version of the fingerprint into use: what is dead by the older one is regrouped.

Until all servers know the newest version nothing happens. Then the dead steps of current runs are
put into kinds that have the groups of both, a piece at a time, while all who die are still told by
the version in use; once all that were there are regrouped, the newest is used. What died meanwhile
follows within seconds. For a day both ids find what has both; then only the newest does.

Any server does it; each piece is a transaction of the one that has the regrouping to itself. What
is done shows in the rows, so whoever goes on begins at the first kind and soon is where it was.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import timedelta

from zart_server.domain.error_kinds import ErrorKind
from zart_server.domain.fingerprint import NEWEST, version_of
from zart_server.engine.background.loop import BackgroundLoop
from zart_server.store.db import Database
from zart_server.store.dead_steps import ListedDeath
from zart_server.store.grouping_version import do_all_know, find_version, use_version
from zart_server.store.regrouping import (
    FoundKind,
    Regrouped,
    delete_kinds_with_former,
    find_dead_of,
    find_kinds_with_former,
    find_live_kinds,
    has_regrouping_to_itself,
    move_dead,
)
from zart_server.store.slices import in_slices

_log = logging.getLogger(__name__)
BOTH_FIND = timedelta(days=1)  # since the newest version is in use
_FRESH = timedelta(minutes=1)  # since then: others may tell deaths by the version before
_LOOK_EVERY = 60.0  # seconds, once all is of the newest version
_LOOK_OFTEN = 2.0
_ASK_EVERY = 5.0  # whether all servers know the newest version
_KINDS = 500  # that one look finds
_PIECE = 500  # dead steps
_REST = 4.0  # times as long as a piece took: it takes a fifth of a connection's time


class _Elsewhere(Exception):
    """Another server is at it."""


class Regrouping(BackgroundLoop):
    """The bringing into use of the newest version of the fingerprint, as one server does it."""

    def __init__(self, db: Database) -> None:
        super().__init__("the regrouping of errors", first=0.0)
        self._db = db
        self._after = -1  # the kind that was looked at last, once the newest version is in use

    async def turn(self) -> float:
        """Do what is to be done now; return seconds until the next turn."""
        async with self._db.autocommit() as connection:
            version = await find_version(connection)
            is_begun = version.number >= NEWEST or await do_all_know(connection, NEWEST)
        self._db.fingerprint.take(version.number)
        if not is_begun:
            return _ASK_EVERY
        if version.number > NEWEST:  # which is another's to look after
            return _LOOK_EVERY
        try:
            if version.number < NEWEST:
                return await self._bring_into_use()
            return await self._look_after(version.used_for)
        except _Elsewhere:
            return _ASK_EVERY

    async def _bring_into_use(self) -> float:
        """Regroup all that is there, and use the newest version, unless a server knows it not."""
        after: int | None = -1
        total = 0
        while after is not None:
            moved, after = await self._regroup(after, is_single=False)
            total += moved
        async with self._db.autocommit() as connection:
            if not await use_version(connection, NEWEST):
                return _ASK_EVERY
        self._db.fingerprint.take(NEWEST)
        _log.info("%d dead steps were regrouped: groups of errors have new ids", total)
        return 0.0

    async def _look_after(self, used_for: timedelta) -> float:
        """Regroup what has been told by an older version since."""
        is_single, is_fresh = used_for > BOTH_FIND, used_for < _FRESH
        after: int | None = -1 if is_fresh else self._after
        while after is not None:
            _, after = await self._regroup(after, is_single=is_single)
            self._after = -1 if after is None else after
            if not is_fresh:
                break
        if is_single:
            await self._forget_former()
        return _LOOK_OFTEN if is_fresh else _LOOK_EVERY

    async def _regroup(self, after: int, *, is_single: bool) -> tuple[int, int | None]:
        """Put what is of some kinds after one into those of the newest version.

        Return how much that was, and the last of these kinds; None: there are no more.
        """
        async with self._db.autocommit() as connection:
            kinds = await find_live_kinds(connection, after, _KINDS)
        older = {one.key: one for one in kinds if version_of(one.kind.error_group_id) < NEWEST}
        total = 0
        while older and (moved := await self._piece(older, is_single=is_single)):
            total += moved
        return total, kinds[-1].key if len(kinds) == _KINDS else None

    async def _forget_former(self) -> None:
        """Leave only the newest groups of what has two."""
        while True:
            async with self._db.autocommit() as connection:
                kinds = await find_kinds_with_former(connection, _KINDS)
            if not kinds:
                return
            found = {one.key: one for one in kinds}
            while await self._piece(found, is_single=True):
                pass
            async with self._db.transaction() as tx:
                if not await has_regrouping_to_itself(tx):
                    raise _Elsewhere
                if not await delete_kinds_with_former(tx, found):
                    return  # whoever has locked the rest is done by the next turn

    async def _piece(self, kinds: Mapping[int, FoundKind], *, is_single: bool) -> int:
        """Regroup some of what is of these kinds, and rest; return how much. Raises _Elsewhere.

        Nothing is locked while it is computed: a thousand long errors take seconds. What another
        server moves meanwhile counts, too: there may be more.
        """
        begun = time.monotonic()
        async with self._db.autocommit() as connection:
            dead = await find_dead_of(connection, kinds, _PIECE)
            if not dead:
                return 0
            moved = await in_slices(
                connection, dead, lambda one: _moved(one, kinds[one.group_key], is_single=is_single)
            )
            tx = await connection.begin()
            if not await has_regrouping_to_itself(tx):
                raise _Elsewhere
            await move_dead(tx, moved)
        await asyncio.sleep((time.monotonic() - begun) * _REST)
        return len(dead)


def _moved(dead: ListedDeath, found: FoundKind, *, is_single: bool) -> Regrouped:
    """Return the kind that a dead step is to be of: with both groups, or with the newest only."""
    kind = found.kind
    if version_of(kind.error_group_id) == NEWEST:
        newest = kind
    else:
        newest = ErrorKind.of(kind.task_name, kind.step_name, dead.error, NEWEST)
    former = (None, None) if is_single else (kind.error_group_id, kind.template)
    newest = newest._replace(former_id=former[0], former_template=former[1])
    return Regrouped(dead, newest, found.first_seen)
