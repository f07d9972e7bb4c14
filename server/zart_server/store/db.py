"""Opens transactions: the only place that knows the pool, the driver and its errors.

A ``Tx`` is one connection of asyncpg's. It is in a transaction, but for ``looking`` and, without
``at_once``, until ``Tx.begin``: then each statement is one by itself. Statements are text.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from zart_server.store.connecting import Connector
from zart_server.store.driver_errors import translated
from zart_server.store.history import join_history
from zart_server.store.liveness import Liveness
from zart_server.store.sessions import Session

if TYPE_CHECKING:
    from zart_server.store.caches.definitions import DefinitionCache
    from zart_server.store.caches.pause_rules import PauseCache
    from zart_server.store.caches.runs import RunFactsCache

_CLOSE_WAIT = 1.0  # seconds
_ROLLBACK = 1.0
# What is found by time needs bitmaps, which hot statements do without (``Database.open``).
BY_TIME = "SET LOCAL enable_bitmapscan = on;"
_BEGIN_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
Raw: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"


async def _leave(_connection: object) -> None:
    pass


async def _roll_back(raw: Raw) -> None:
    """Leave no transaction behind: a connection that cannot be told so in time is closed.

    What led to this is what the caller hears of.
    """
    try:
        async with asyncio.timeout(_ROLLBACK):
            await raw.execute("ROLLBACK")
    except Exception:  # noqa: BLE001 - whatever it is, the connection is of no use any more
        _terminate(raw)
    except BaseException:
        _terminate(raw)
        raise


def _terminate(raw: Raw) -> None:
    with contextlib.suppress(asyncpg.InterfaceError):  # somebody else has
        raw.terminate()


@dataclass
class Changes:
    """What a transaction changed that somebody may wait for; told to them after its commit."""

    lanes: dict[tuple[str, str], int] = field(default_factory=dict)  # (task, handler) → queued
    runs: set[int] = field(default_factory=set)  # run keys, told of by whatever locks or claims
    at_once: set[int] = field(default_factory=set)  # those that ended, or an operator changed
    rules: bool = False  # pause rules were added or deleted
    due_in: float | None = None  # seconds until the first task that was queued with a delay
    # Of lanes, by (task, handler), whose tasks were queued where they had stood before: the lane
    # and the first cursor.
    cursors: dict[tuple[str, str], tuple[int, tuple[datetime, int]]] = field(default_factory=dict)

    def queued(self, task_name: str, handler: str, delay: float = 0.0, count: int = 1) -> None:
        """Note that tasks were queued, due after ``delay`` seconds."""
        if delay > 0:
            self.due_in = delay if self.due_in is None else min(self.due_in, delay)
        else:
            self.lanes[task_name, handler] = self.lanes.get((task_name, handler), 0) + count

    def put_back(
        self, task_name: str, handler: str, lane: int, cursor: tuple[datetime, int]
    ) -> None:
        """Note that a task was queued where it had stood before: looks may be past that."""
        known = self.cursors.get((task_name, handler))
        if known is None or cursor < known[1]:
            self.cursors[task_name, handler] = lane, cursor

    def changed(self, run_keys: Iterable[int], *, at_once: bool = False) -> None:
        """Note that something of runs changed: called by the statements that lock or claim them."""
        keys = set(run_keys)
        self.runs |= keys
        if at_once:
            self.at_once |= keys

    def __bool__(self) -> bool:
        return bool(self.lanes or self.runs or self.rules or self.due_in is not None)


class Tx:
    """One open transaction. Passed, never hidden: engine and store functions take it."""

    def __init__(
        self,
        raw: Raw,
        definitions: DefinitionCache,
        pauses: PauseCache,
        runs: RunFactsCache,
    ) -> None:
        self._raw = raw
        self.definitions = definitions
        self.pauses = pauses
        self.runs = runs
        self.changes = Changes()
        self.has_begun = False
        self._at_end: list[Callable[[bool], None]] = []

    async def begin(self, how: str = "BEGIN") -> None:
        """Begin, where ``Database.transaction`` left that to its caller."""
        await self._raw.execute(how)
        self.has_begun = True

    def at_end(self, tell: Callable[[bool], None]) -> None:
        """Have somebody told once this has ended: True, it is committed."""
        self._at_end.append(tell)

    def ended(self, *, is_committed: bool) -> None:
        """Tell whoever asked for it."""
        for tell in self._at_end:
            tell(is_committed)

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """Run one statement, prepared once per connection, and give its rows."""
        return await self._raw.fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: object) -> asyncpg.Record | None:
        """Run one statement and give its first row, None where there is none."""
        return await self._raw.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: object) -> Any:  # noqa: ANN401 - a column of any type
        """Run one statement and give the first column of its first row."""
        return await self._raw.fetchval(sql, *args)

    async def execute(self, sql: str, *args: object) -> int:
        """Run one statement and give how many rows it touched."""
        status = await self._raw.execute(sql, *args)
        return int(status.rsplit(" ", 1)[-1]) if status[-1:].isdigit() else 0

    async def executemany(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement for each row of arguments, all in one round trip."""
        await self._raw.executemany(sql, rows)


class Database:
    """A pool of connections to one database."""

    def __init__(self, url: str, acquire_timeout: float) -> None:
        self.url = url
        self._acquire_timeout = acquire_timeout
        self._pool: asyncpg.Pool[asyncpg.Record]
        self._connector: Connector
        self.liveness: Liveness
        self._history: str | None = None
        self._forget()
        self._in_use: dict[Raw, float] = {}
        self.on_loss: Callable[[], None] = lambda: None
        self.on_commit: Callable[[Changes], None] = lambda _changes: None

    def _forget(self) -> None:
        """Begin with nothing at hand; transactions under way keep what they began with."""
        from zart_server.store.caches.definitions import DefinitionCache  # noqa: PLC0415 - they need Tx
        from zart_server.store.caches.pause_rules import PauseCache  # noqa: PLC0415 - they need Tx
        from zart_server.store.caches.runs import RunFactsCache  # noqa: PLC0415 - they need Tx

        self._definitions = DefinitionCache()
        self._pauses = PauseCache()
        self._runs = RunFactsCache()

    async def _join(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Join the database's history; what is at hand of another one names other things here.

        Keys, and the epoch of the pause rules, are given out again where a failover lost some.
        """
        found = await join_history(connection, is_first=self._history is None)
        if found != self._history:
            self._history = found
            self._forget()

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        pool_size: int = 10,
        acquire_timeout: float = 5.0,
        statement_timeout: float = 30.0,
        lock_timeout: float = 10.0,
    ) -> Database:
        """Prepare a pool; connections are made when they are needed. Times are in seconds."""
        connector = Connector(
            url,
            Session("server", statement_timeout=statement_timeout, lock_timeout=lock_timeout),
            command_timeout=statement_timeout + 5.0,
            statement_cache_size=400,
            max_cached_statement_lifetime=0,
        )

        async def connect(_dsn: None, **arguments: Any) -> Any:  # noqa: ANN401 - the pool's
            return await connector.connect(acquire_timeout, **arguments)

        db = cls(url, acquire_timeout)
        db._connector = connector
        db.liveness = Liveness(url, db._waiting, db._all_lost)
        db._pool = await asyncpg.create_pool(
            init=db._join,
            min_size=0,
            max_size=pool_size,
            max_inactive_connection_lifetime=0,
            # Nothing that a transaction sets outlives it: no round trip to reset a connection.
            reset=_leave,
            connect=cast("Any", connect),
        )
        return db

    @contextlib.asynccontextmanager
    async def transaction(
        self, *, snapshot: bool = False, first: str = "", at_once: bool = True
    ) -> AsyncIterator[Tx]:
        """Open a transaction; it commits on leaving and rolls back when anything is raised.

        READ COMMITTED, or with ``snapshot`` a read-only one that sees one moment throughout.
        ``first`` is a statement to run as soon as it has begun, without a round trip of its own.
        Without ``at_once`` it begins with ``Tx.begin``; statements until then stand for themselves.
        Raises StoreConflict, OperationTimeout or StoreUnavailable in place of driver errors.
        """
        begin = _BEGIN_SNAPSHOT if snapshot else "BEGIN;"
        with translated():
            async with self._pool.acquire(timeout=self._acquire_timeout) as raw:
                tx = self._tx(raw)
                self._in_use[raw] = time.monotonic()
                try:
                    if at_once:
                        await tx.begin(begin + first)
                    yield tx
                    if tx.has_begun:
                        await raw.execute("COMMIT")
                except BaseException:
                    tx.ended(is_committed=False)
                    await _roll_back(raw)
                    raise
                finally:
                    del self._in_use[raw]
                tx.ended(is_committed=True)
        if tx.changes:
            self.on_commit(tx.changes)

    def _tx(self, raw: Raw) -> Tx:
        return Tx(raw, self._definitions, self._pauses, self._runs)

    @contextlib.asynccontextmanager
    async def looking(self) -> AsyncIterator[Tx]:
        """Return a connection for looks that need not agree: each statement sees its own moment.

        Without a transaction, and the two round trips that one costs. Raises as ``transaction``.
        """
        with translated():
            async with self._pool.acquire(timeout=self._acquire_timeout) as raw:
                self._in_use[raw] = time.monotonic()
                try:
                    yield self._tx(raw)
                finally:
                    del self._in_use[raw]

    def _waiting(self, seconds: float) -> dict[int, Raw]:
        """Return the connections taken so many seconds ago, by the process of their sessions."""
        since = time.monotonic() - seconds
        return {
            self._connector.pid_of(raw): raw for raw, begun in self._in_use.items() if begun < since
        }

    async def _all_lost(self) -> None:
        """Have each connection replaced before it is used again."""
        await self._pool.expire_connections()
        self.on_loss()

    async def close(self) -> None:
        """Close all connections; those of calls that were cancelled once they are rolled back."""
        await self.liveness.stop()
        try:
            async with asyncio.timeout(_CLOSE_WAIT):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()
