"""Opens connections and transactions: the only place that knows the pool and the driver's errors.

It yields what the statements take: ``store.connection`` says which type is for what.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import asyncpg

from zart_server.domain.distribution import CALL_SECONDS, Distribution
from zart_server.domain.errors import ZartError
from zart_server.store.caches.definitions import DefinitionCache
from zart_server.store.caches.pause_rules import PauseCache
from zart_server.store.caches.results import ResultCache
from zart_server.store.caches.runs import RunFactsCache
from zart_server.store.caches.version_in_use import VersionInUse
from zart_server.store.changes import Changes
from zart_server.store.connecting import Connector
from zart_server.store.connection import Autocommit, Raw, Tx
from zart_server.store.driver_errors import PoolExhausted, translated
from zart_server.store.followed_url import Url
from zart_server.store.grouping_version import read_version
from zart_server.store.history import join_history
from zart_server.store.liveness import Liveness
from zart_server.store.outage_lines import OutageLines
from zart_server.store.schema import refuse_older
from zart_server.store.sessions import Session
from zart_server.store.stored_graph import Definition

_CLOSE_WAIT = 1.0  # seconds
_ROLLBACK = 1.0
_BEGIN_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"


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


class Database:
    """A pool of connections to one database."""

    def __init__(self, url: Url, acquire_timeout: float) -> None:
        self.url = url
        self._acquire_timeout = acquire_timeout
        self._pool: asyncpg.Pool[asyncpg.Record]
        self._connector: Connector
        self.liveness: Liveness
        self._history: str | None = None
        self._forget()
        self._in_use: dict[Raw, float] = {}
        self.outages = OutageLines()
        self.waiting = 0  # how many wait for a connection
        self.seconds = Distribution(CALL_SECONDS)  # for which connections were in use
        self.on_loss: Callable[[], None] = lambda: None
        self.on_other_history: Callable[[], None] = lambda: None
        self.on_commit: Callable[[Changes], None] = lambda _changes: None

    def _forget(self) -> None:
        """Begin with nothing at hand; transactions under way keep what they began with."""
        self._definitions = DefinitionCache()
        self._pauses = PauseCache()
        self._runs = RunFactsCache()
        self._results = ResultCache()
        self.fingerprint = VersionInUse()

    async def _join(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Join the database's history; what is at hand of another one names other things here.

        Keys, and the epoch of the pause rules, are given out again where a failover lost some.
        Raises SchemaOutdated where it lost a version of the schema, or all of it.
        """
        try:
            found = await join_history(connection, is_first=self._history is None)
        except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError):
            await refuse_older(connection)
            # Somebody has migrated it since.
            found = await join_history(connection, is_first=self._history is None)
        if found != self._history:
            await refuse_older(connection)
            version = await read_version(connection)
            if found == self._history:  # another connection was sooner
                return
            self._history = found
            self._forget()
            self.on_other_history()
            self.fingerprint.take(version)

    @property
    def history(self) -> str | None:
        """The name of the history that the last connection joined; None: there was none yet."""
        return self._history

    @classmethod
    async def open(
        cls,
        url: Url,
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
            statement_cache_size=1000,  # all that is sent, in all its forms: no plan is made twice
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
    async def autocommit(self) -> AsyncIterator[Autocommit]:
        """Open a connection on which each statement commits by itself, and sees its own moment.

        What ``Autocommit.begin`` began is committed on leaving, and rolled back when anything is
        raised. Without it, this saves the two round trips that a transaction costs.
        Raises StoreConflict, OperationTimeout or StoreUnavailable in place of driver errors.
        """
        with translated(self.outages.tell):
            async with self._acquired() as raw:
                connection = Autocommit(
                    raw,
                    self._definitions,
                    self._pauses,
                    self._runs,
                    self._results,
                    self.fingerprint,
                )
                self._in_use[raw] = time.monotonic()
                try:
                    yield connection
                    if connection.tx is not None:
                        await raw.execute("COMMIT")
                except BaseException as error:
                    connection.ended(is_committed=False)
                    # A refusal of ours leaves nothing under way; who knows of other errors.
                    if connection.tx is not None or not isinstance(error, ZartError):
                        await _roll_back(raw)
                    raise
                finally:
                    self.seconds.add([time.monotonic() - self._in_use.pop(raw)])
                connection.ended(is_committed=True)
        if connection.changes:
            self.on_commit(connection.changes)

    @contextlib.asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Raw]:
        self.waiting += 1
        try:
            raw = await self._pool.acquire(timeout=self._acquire_timeout)
        except TimeoutError:  # of a wait for one that is free, or for a new one
            if self.in_use < self.most:
                raise
            raise PoolExhausted from None
        finally:
            self.waiting -= 1
        try:
            yield raw
        finally:
            await self._pool.release(raw)

    def last_current(self, task_name: str) -> Definition | None:
        """Return the graph that a task had last, as ``DefinitionCache`` does."""
        return self._definitions.last_current(task_name)

    @property
    def in_use(self) -> int:
        """How many connections are in use."""
        return len(self._in_use)

    @property
    def most(self) -> int:
        """How many connections there may be."""
        return self._pool.get_max_size()

    @contextlib.asynccontextmanager
    async def transaction(self, *, snapshot: bool = False, first: str = "") -> AsyncIterator[Tx]:
        """Open a transaction; it commits on leaving and rolls back when anything is raised.

        READ COMMITTED, or with ``snapshot`` a read-only one that sees one moment throughout.
        ``first`` is a statement to run as soon as it has begun, without a round trip of its own.
        Raises as ``autocommit``.
        """
        begin = _BEGIN_SNAPSHOT if snapshot else "BEGIN;"
        async with self.autocommit() as connection:
            yield await connection.begin(begin + first)

    def _waiting(self, seconds: float) -> dict[int, Raw]:
        """Return the connections taken so many seconds ago, by the process of their sessions."""
        since = time.monotonic() - seconds
        found = {}
        for raw, begun in self._in_use.items():
            if begun < since:
                with contextlib.suppress(asyncpg.InterfaceError):  # lost: nothing waits over it
                    found[self._connector.pid_of(raw)] = raw
        return found

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
