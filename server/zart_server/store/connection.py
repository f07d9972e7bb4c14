"""What statements take: an open transaction, or any connection.

Three types, which the type checker tells apart and which cost nothing:

- ``Tx``: an open transaction. A function takes it if what it does is right only together with what
  comes before or after it in the transaction: it locks a row, or takes the pause lock, for later
  statements; it relies on a lock that its caller holds; its write is one of several; or it reads a
  snapshot by several statements.
- ``Connection``: in a transaction or not. For reads, and for a write that is right by itself: one
  guarded statement, or several of which each may be lost without the others.
- ``Autocommit``: a connection in no transaction. For the fast paths, whose one statement is a
  transaction of its own, locks and all (``start_fast``, ``end_and_enqueue``), and for a function
  that begins a transaction itself: it returns the ``Tx``, or ends its work in it.

So a statement is judged by what its locks are for: for others, or for itself alone. See
docs/adr/0024-transactions-by-type.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from zart_server import aside
from zart_server.store.caches.definitions import DefinitionCache
from zart_server.store.caches.pause_rules import PauseCache
from zart_server.store.caches.results import ResultCache
from zart_server.store.caches.runs import RunFactsCache
from zart_server.store.caches.version_in_use import VersionInUse
from zart_server.store.changes import Changes

Raw: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(eq=False)
class Connection:
    """A connection of asyncpg's, in a transaction or not, and what is at hand of its database."""

    _raw: Raw
    definitions: DefinitionCache
    pauses: PauseCache
    runs: RunFactsCache
    results: ResultCache
    fingerprint: VersionInUse
    changes: Changes = field(default_factory=Changes)
    _at_end: list[Callable[[bool], None]] = field(default_factory=list)

    def at_end(self, tell: Callable[[bool], None]) -> None:
        """Have somebody told once this has ended: True, what was done is committed."""
        self._at_end.append(tell)

    def once_committed(self, keep: Callable[[], None]) -> None:
        """Have something kept in memory of what is written, once that is committed.

        Of what was rolled back nothing may stay: PostgreSQL gives its keys to something else where
        it crashes, and starts again.
        """
        self.at_end(lambda is_committed: keep() if is_committed else None)

    def ended(self, *, is_committed: bool) -> None:
        """Tell whoever asked for it."""
        for tell in self._at_end:
            tell(is_committed)

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """Run one statement, prepared once per connection, and return its rows."""
        return await self._raw.fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: object) -> asyncpg.Record | None:
        """Run one statement and return its first row; None if it has none."""
        return await self._raw.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: object) -> Any:  # noqa: ANN401 - a column of any type
        """Run one statement and return the first column of its first row."""
        return await self._raw.fetchval(sql, *args)

    async def execute(self, sql: str, *args: object) -> int:
        """Run one statement and return how many rows it touched."""
        status = await self._raw.execute(sql, *args)
        return int(status.rsplit(" ", 1)[-1]) if status[-1:].isdigit() else 0

    async def executemany(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement for each row of arguments, all in one round trip."""
        await self._raw.executemany(sql, rows)

    async def give_sign(self) -> None:
        """Have PostgreSQL hear of this connection: it ends a transaction that is silent.

        For work between two statements that may take a second (``idle_in_transaction`` of
        ``store/sessions.py``, on a busy machine).
        """
        await self._raw.execute("SELECT")

    async def aside(self, size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do work on about so many bytes while this connection is held, in a thread if it is long.

        PostgreSQL hears of the transaction meanwhile. The connection runs one statement at a time:
        nobody else may use it until this returns.
        """
        return await aside.done_while_held(self.give_sign, size, work, *args, **kwargs)

    async def wait_for(self, others: asyncio.Future[None]) -> None:
        """Wait for what others do by a connection of their own; PostgreSQL hears of this one."""
        await aside.waited_for(self.give_sign, others)


class Tx(Connection):
    """An open transaction. Passed, never hidden: engine and store functions take it.

    Made by ``Database.transaction`` and ``Autocommit.begin`` only.
    """


class Autocommit(Connection):
    """A connection in no transaction, until ``begin``: each statement commits by itself."""

    tx: Tx | None = None

    async def begin(self, how: str = "BEGIN") -> Tx:
        """Begin the transaction, which ``Database.autocommit`` commits or rolls back.

        ``how`` may hold more statements, which cost no round trip of their own.
        """
        # Set before: what is cut off while it begins has to be rolled back too.
        self.tx = Tx(
            self._raw,
            self.definitions,
            self.pauses,
            self.runs,
            self.results,
            self.fingerprint,
            self.changes,
            self._at_end,
        )
        await self._raw.execute(how)
        return self.tx

    async def roll_back(self) -> None:
        """Leave the transaction that did not begin as it should, so that it can begin anew."""
        await self._raw.execute("ROLLBACK")
        self.tx = None
