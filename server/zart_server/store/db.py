"""Opens transactions: the only place that knows the pool, the driver and its errors.

A ``Tx`` is one open transaction on one connection. Hot statements go straight to asyncpg
(``fetch``), composed reads through SQLAlchemy Core (``select``); both run in the same transaction,
because the engine is in autocommit and the BEGIN is ours.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import Row, Select
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from zart_server.store.connections import Connections
from zart_server.store.database_url import to_sqlalchemy_url
from zart_server.store.driver_errors import translated

if TYPE_CHECKING:
    from zart_server.store.definition_cache import DefinitionCache
    from zart_server.store.pause_cache import PauseCache
    from zart_server.store.run_facts import RunFactsCache


@dataclass
class Changes:
    """What a transaction changed that somebody may wait for; told to them after its commit."""

    lanes: dict[tuple[str, str], int] = field(default_factory=dict)  # (task, handler) → queued
    executions: set[int] = field(default_factory=set)  # execution keys
    rules: bool = False  # pause rules were added or deleted
    due_in: float | None = None  # seconds until the first task that was queued with a delay

    def queued(self, task_name: str, handler: str, delay: float = 0.0, count: int = 1) -> None:
        """Note that tasks were queued, due after ``delay`` seconds."""
        if delay > 0:
            self.due_in = delay if self.due_in is None else min(self.due_in, delay)
        else:
            self.lanes[task_name, handler] = self.lanes.get((task_name, handler), 0) + count

    def __bool__(self) -> bool:
        return bool(self.lanes or self.executions or self.rules or self.due_in is not None)


class Tx:
    """One open transaction. Passed, never hidden: engine and store functions take it."""

    def __init__(
        self,
        connection: AsyncConnection,
        raw: asyncpg.Connection[asyncpg.Record],
        definitions: DefinitionCache,
        pauses: PauseCache,
        runs: RunFactsCache,
    ) -> None:
        self._connection = connection
        self._raw = raw
        self.definitions = definitions
        self.pauses = pauses
        self.runs = runs
        self.changes = Changes()

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

    async def select(self, statement: Select[Any]) -> Sequence[Row[Any]]:
        """Run a composed read and give its rows."""
        rows: Sequence[Row[Any]] = (await self._connection.execute(statement)).all()
        return rows


class Database:
    """A pool of connections to one database."""

    def __init__(self, url: str, connections: Connections) -> None:
        from zart_server.store.definition_cache import DefinitionCache  # noqa: PLC0415 - they need Tx
        from zart_server.store.pause_cache import PauseCache  # noqa: PLC0415 - they need Tx
        from zart_server.store.run_facts import RunFactsCache  # noqa: PLC0415 - they need Tx

        self.url = url
        self._connections = connections
        self._definitions = DefinitionCache()
        self._pauses = PauseCache()
        self._runs = RunFactsCache()
        self.on_commit: Callable[[Changes], None] = lambda _changes: None

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
        settings = {
            "application_name": "zart-server",
            "statement_timeout": f"{int(statement_timeout * 1000)}",
            "lock_timeout": f"{int(lock_timeout * 1000)}",
            "idle_in_transaction_session_timeout": "60000",
            "jit": "off",
            # Plans are made once, perhaps while a table is nearly empty, and are kept while it
            # grows: whatever reads a whole table because that looks cheap would read the whole
            # backlog for every batch later. Batches are small: look up each row by an index.
            "plan_cache_mode": "force_generic_plan",
            "enable_seqscan": "off",
            "enable_hashjoin": "off",
            "enable_mergejoin": "off",
            "timezone": "UTC",
        }
        engine = create_async_engine(
            to_sqlalchemy_url(url),
            isolation_level="AUTOCOMMIT",
            json_deserializer=str,  # JSON stays the text it is
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=acquire_timeout,
            pool_use_lifo=True,
            connect_args={
                "server_settings": settings,
                "timeout": acquire_timeout,
                "command_timeout": statement_timeout + 5.0,
                "statement_cache_size": 400,
                "max_cached_statement_lifetime": 0,
            },
        )
        return cls(url, Connections(engine, pool_size, acquire_timeout))

    @contextlib.asynccontextmanager
    async def transaction(self, *, snapshot: bool = False) -> AsyncIterator[Tx]:
        """Open a transaction; it commits on leaving and rolls back when anything is raised.

        READ COMMITTED, or with ``snapshot`` a read-only one that sees one moment throughout.
        Raises StoreConflict, OperationTimeout or StoreUnavailable in place of driver errors.
        """
        with translated():
            async with self._connections.lent() as (connection, raw):
                options: dict[str, Any] = (
                    {"isolation": "repeatable_read", "readonly": True} if snapshot else {}
                )
                async with raw.transaction(**options):
                    tx = Tx(connection, raw, self._definitions, self._pauses, self._runs)
                    yield tx
        if tx.changes:
            self.on_commit(tx.changes)

    @contextlib.asynccontextmanager
    async def looking(self) -> AsyncIterator[Tx]:
        """Give a connection for looks that need not agree: each statement sees its own moment.

        Without a transaction, and the two round trips that one costs. Raises as ``transaction``.
        """
        with translated():
            async with self._connections.lent() as (connection, raw):
                yield Tx(connection, raw, self._definitions, self._pauses, self._runs)

    async def ping(self) -> None:
        """Raise StoreUnavailable unless the database answers."""
        async with self.looking() as tx:
            await tx.fetchval("SELECT 1")

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()
