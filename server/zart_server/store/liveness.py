"""Looks each second whether the database answers, and ends what only seems to be connected.

A network may lose connections without a word: what waits for an answer over one of them would wait
for its timeout. So a connection of its own asks PostgreSQL what it does for those that have waited
for a while. What it does nothing for is lost, and all is lost where that connection is silent and a
new one, which takes longer to make, answers before it. And a session of any server that holds locks
while its client, frozen or out of reach, neither reads nor writes is ended for all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Protocol

import asyncpg

from zart_server.store.connecting import Connector
from zart_server.store.driver_errors import cause_of, translate
from zart_server.store.followed_url import Url
from zart_server.store.schema import refuse_older
from zart_server.store.sessions import IDLE_IN_TRANSACTION, DriverConnection, Session, frozen

_log = logging.getLogger(__name__)
_EVERY = 1.0  # seconds
_EVERY_WHEN_LOST = 0.25
_ALERT = 5.0  # after a loss: what began shortly before it waits too
_SILENT = 1.0  # without an answer: another connection is tried
_CONNECT = 2.0
_WAITS = 1.0  # for so long before PostgreSQL is asked what it does
_DOWN = 3.0  # without any connection: whoever waits is told

# A statement that is being sent to a client, or whose next part a client owes, is active too, and
# no timeout of PostgreSQL's ends it. Once is no proof: it may have worked until a moment ago. It
# hangs if the next look finds it so, within the same statement. What is not to be seen, as where
# track_activities is off, or sessions have the role of another, is taken to be at work.
_LOOK = f"""
    SELECT pid, query_start, is_at_work, is_stuck, CASE WHEN is_stuck AND EXISTS (
            SELECT FROM unnest($2::int[], $3::timestamptz[]) b(pid, query_start)
            WHERE b.pid = a.pid AND b.query_start = a.query_start)
        THEN pg_terminate_backend(pid) END AS is_ended
    FROM (
        SELECT pid, query_start,
            COALESCE(is_recent OR state = 'active' AND wait_event_type IS DISTINCT FROM 'Client',
                true) AS is_at_work,
            NOT is_recent AND state = 'active' AND wait_event_type = 'Client'
                AND xact_start IS NOT NULL
                AND pg_has_role(usesysid, 'USAGE') AND application_name LIKE 'zart-%' AS is_stuck
        FROM pg_stat_activity CROSS JOIN LATERAL (SELECT state_change
            > clock_timestamp() - {IDLE_IN_TRANSACTION} * interval '1 second' AS is_recent) r
        WHERE datname = current_database() AND pid <> pg_backend_pid()
        OFFSET 0) a
    WHERE is_stuck OR pid = ANY($1::int[])
"""
# Sessions that there are learn of it too, where it is set for the whole PostgreSQL.
_FROZEN = "SELECT current_setting('default_transaction_read_only') = 'on'"


class Terminable(Protocol):
    """A connection."""

    def terminate(self) -> None:
        """Close it at once; its waiters get an error."""


class Liveness:
    """The watch over the connections of one pool.

    ``waiting`` gives those that have been in use for some seconds, by the session's process; each
    can be terminated. ``on_loss`` is told that all that were made until now are lost.
    """

    def __init__(
        self,
        url: Url,
        waiting: Callable[[float], Mapping[int, Terminable]],
        on_loss: Callable[[], Awaitable[None]],
    ) -> None:
        self._connector = Connector(url, Session("watch"), command_timeout=_CONNECT)
        self._waiting = waiting
        self._on_loss = on_loss
        self._connection: DriverConnection | None = None
        self._down_since: float | None = None
        self._lost_at = -math.inf
        self._stuck: dict[int, datetime] = {}  # sessions, and when their statements began
        self._causes: set[str] = set()  # of what is wrong now, to say each once
        self._is_frozen = False  # the sessions that there are go on, and may only read
        self._is_told = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.is_up: bool | None = None  # not known yet

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="liveness")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._connection is not None:
            self._connection.terminate()

    async def follow(self) -> AsyncIterator[bool]:
        """Return whether the database answers, and again whenever that changes."""
        told: bool | None = None
        while True:
            if self.is_up is not None and self.is_up is not told:
                told = self.is_up
                yield told
            else:
                self._is_told.clear()
                await self._is_told.wait()

    async def _run(self) -> None:
        while True:
            is_well, is_there = True, False
            try:
                await self._look()
                self._causes.clear()
            except Exception as error:  # noqa: BLE001 - told unless it is the database's; it must go on
                # One that refuses, for it has no connection left, works for those who have one.
                # A standby does not: nobody has a session there.
                is_standby = isinstance(error, asyncpg.ReadOnlySQLTransactionError)
                is_there = isinstance(error, asyncpg.PostgresError) and (
                    self._is_frozen or not is_standby
                )
                is_well = False
                if translate(error) is None:
                    _log.exception("the database's health could not be told")
                else:
                    self._say(cause_of(error))
            try:
                self._tell(is_up=is_well, is_there=is_there)
            except Exception:  # noqa: BLE001 - told in full; it must go on
                _log.exception("what waits for the database could not be ended")
            is_calm = is_well and time.monotonic() > self._lost_at + _ALERT
            await asyncio.sleep(_EVERY if is_calm else _EVERY_WHEN_LOST)

    def _say(self, cause: str) -> None:
        if cause not in self._causes:
            self._causes.add(cause)
            _log.warning("health is NOT_SERVING: %s", cause)

    def _tell(self, *, is_up: bool, is_there: bool) -> None:
        if is_up is not self.is_up:
            self.is_up = is_up
            self._is_told.set()
        now = time.monotonic()
        if is_up or is_there:
            self._down_since = None
        elif self._down_since is None:
            self._down_since = now
        elif now > self._down_since + _DOWN:
            self._end(self._waiting(_DOWN))

    async def _look(self) -> None:
        """Look once. Raises what the database or its driver says, or SchemaOutdated."""
        suspects = self._waiting(_WAITS)
        self._is_frozen = False
        if self._connection is None:
            await self._look_anew(suspects, None)
            return
        asked = asyncio.create_task(self._at_work(self._connection, suspects))
        try:
            await asyncio.wait([asked], timeout=_SILENT)
            if _has_answered(asked):
                self._judge(suspects, asked.result())
            else:
                await self._look_anew(suspects, asked)
        finally:
            asked.cancel()
        if self._is_frozen:
            raise frozen()

    async def _look_anew(
        self, suspects: Mapping[int, Terminable], asked: asyncio.Task[set[int]] | None
    ) -> None:
        """Look by another connection; where it is the first to answer all others are lost."""
        fresh = await self._connector.connect(_CONNECT)
        try:
            await refuse_older(fresh)
            found = await self._at_work(fresh, suspects)
        except BaseException:
            fresh.terminate()
            raise
        if asked is not None and _has_answered(asked):  # it is as busy as we are
            fresh.terminate()
        else:
            await self._replace(fresh)
        self._judge(suspects, found)

    async def _replace(self, fresh: DriverConnection) -> None:
        lost, self._connection = self._connection, fresh
        if lost is not None:
            lost.terminate()
            self._lost_at = time.monotonic()
            _log.warning("the connections to the database are lost: new ones are made")
            await self._on_loss()

    async def _at_work(self, connection: DriverConnection, pids: Collection[int]) -> set[int]:
        """Return those of the sessions that PostgreSQL does something for; end those that hang."""
        before = self._stuck
        rows = await connection.fetch(_LOOK, list(pids), list(before), list(before.values()))
        self._stuck = {row["pid"]: row["query_start"] for row in rows if row["is_stuck"]}
        if ended := sum(bool(row["is_ended"]) for row in rows):
            _log.warning("ended %d sessions whose clients hang", ended)
        self._is_frozen = await connection.fetchval(_FROZEN)
        is_first = {pid for pid, begun in self._stuck.items() if before.get(pid) != begun}
        return {row["pid"] for row in rows if row["is_at_work"] or row["pid"] in is_first}

    def _judge(self, suspects: Mapping[int, Terminable], at_work: Collection[int]) -> None:
        self._end({pid: raw for pid, raw in suspects.items() if pid not in at_work})

    def _end(self, lost: Mapping[int, Terminable]) -> None:
        for raw in lost.values():
            with contextlib.suppress(asyncpg.InterfaceError):  # it is no longer in use
                raw.terminate()
        if lost:
            _log.warning("%d statements will not be answered any more: given up", len(lost))


def _has_answered(asked: asyncio.Task[set[int]]) -> bool:
    return asked.done() and not asked.cancelled() and asked.exception() is None
