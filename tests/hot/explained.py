"""A transaction whose statements are explained as they run, with the plan that its session keeps."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from zart_server.store.caches.pause_rules import PauseCache
from zart_server.store.connection import Autocommit, Tx
from zart_server.store.db import Database

_SIGN = "SELECT"  # of a connection that is held while something is computed: where that takes long
_STATEMENTS = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "MERGE")
# What this transaction has read of each table so far, in functions and triggers too: by itself,
# and by its indexes. What is dead is left out: that is a matter of vacuum, not of plans.
_READ = """
    SELECT c.relname, (pg_stat_get_xact_tuples_returned(c.oid)
        + pg_stat_get_xact_tuples_fetched(c.oid)
        + (SELECT COALESCE(sum(pg_stat_get_xact_tuples_fetched(i.indexrelid)), 0)
           FROM pg_index i WHERE i.indrelid = c.oid))::bigint
    FROM pg_class c WHERE c.relnamespace = 'zart'::regnamespace AND c.relkind = 'r'
"""


@dataclass
class Plan:
    """How one statement was executed: its nodes, and what it read of each table."""

    function: str  # of the store, which sent it
    sql: str
    nodes: list[dict[str, Any]]
    read: dict[str, int]

    @property
    def indexes(self) -> set[str]:
        """The indexes that are used."""
        return {node["Index Name"] for node in self.nodes if "Index Name" in node}

    def looked_at(self, table: str) -> int:
        """Return how many rows of a table, or entries of its indexes, its scans looked at."""
        return sum(
            _rows_of(node)
            for node in self.nodes
            if node.get("Relation Name") == table and "Scan" in node["Node Type"]
        )

    @property
    def most_at_a_node(self) -> tuple[int, str]:
        """Return how many rows the busiest node looked at, and which node that is."""
        return max((_rows_of(node), _named(node)) for node in self.nodes)


def _rows_of(node: dict[str, Any]) -> int:
    removed: float = sum(n for key, n in node.items() if key.startswith("Rows Removed by"))
    rows: float = node["Actual Rows"]
    return round((rows + removed) * int(node["Actual Loops"]))


def _named(node: dict[str, Any]) -> str:
    of = node.get("Index Name") or node.get("Relation Name") or node.get("CTE Name") or ""
    return f"{node['Node Type']} {of} {node.get('Subplan Name', '')}".strip()


@dataclass
class Raw:
    """Stands for a Tx's connection: runs each statement as it does, and keeps its plan."""

    raw: Any
    is_judged: bool
    plans: list[Plan] = field(default_factory=list)
    sent: list[tuple[str, str]] = field(default_factory=list)  # function and text

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        """Run a statement."""
        await self._explain(sql, args)
        found: list[asyncpg.Record] = await self.raw.fetch(sql, *args)
        return found

    async def fetchrow(self, sql: str, *args: object) -> asyncpg.Record | None:
        """Run a statement."""
        await self._explain(sql, args)
        found: asyncpg.Record | None = await self.raw.fetchrow(sql, *args)
        return found

    async def fetchval(self, sql: str, *args: object) -> Any:
        """Run a statement."""
        await self._explain(sql, args)
        return await self.raw.fetchval(sql, *args)

    async def execute(self, sql: str, *args: object) -> str:
        """Run a statement."""
        await self._explain(sql, args)
        status: str = await self.raw.execute(sql, *args)
        return status

    async def executemany(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement for each row; the first stands for all."""
        await self._explain(sql, next(iter(rows)))
        await self.raw.executemany(sql, rows)

    async def _explain(self, sql: str, args: Sequence[object]) -> None:
        if not sql.lstrip().startswith(_STATEMENTS) or sql == _SIGN:
            return
        function = _sender()
        self.sent.append((function, sql))
        if not self.is_judged:
            return
        execute = await executing(self.raw, sql, args)
        await self.raw.execute("SAVEPOINT before")
        before = dict(await self.raw.fetch(_READ))
        text = await _fetchrow(self.raw, f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) {execute}")
        after = dict(await self.raw.fetch(_READ))
        await self.raw.execute("ROLLBACK TO SAVEPOINT before")
        read = {table: number - before[table] for table, number in after.items()}
        self.plans.append(Plan(function, sql, list(_nodes(json.loads(text[0])[0]["Plan"])), read))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _sender() -> str:
    """Name the innermost function of the server, but for a connection's, that is running."""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("zart_server.") and not module.endswith(".store.connection"):
            name = module.removeprefix("zart_server.").removeprefix("store.")
            return f"{name}.{frame.f_code.co_qualname}"
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    return ""


async def prepared(raw: Any, sql: str) -> tuple[str, list[str]]:
    """Return name and types of a statement as this session keeps it prepared; it is prepared by this.

    As asyncpg does it, and keeps it: the server's own statement is the same one.
    """
    state = await raw._get_statement(sql, None)
    return state.name, [parameter.name for parameter in state._get_parameters()]


async def executing(raw: Any, sql: str, args: Sequence[object]) -> str:
    """Return the EXECUTE for a statement that this session keeps prepared."""
    name, types = await prepared(raw, sql)
    if not types:
        return f'EXECUTE "{name}"'
    texts = ", ".join(f"quote_nullable(${n}::{kind}::text)" for n, kind in enumerate(types, 1))
    (values,) = await _fetchrow(raw, f"SELECT ARRAY[{texts}]", *args)
    return f'EXECUTE "{name}"({", ".join(values)})'


async def _fetchrow(raw: Any, sql: str, *args: object) -> asyncpg.Record:
    """Run what the server does not send, without a place among the statements that a session keeps.

    Else it would take that of one that was planned early, which then would be planned anew.
    """
    statement = await raw.prepare(sql)
    row: asyncpg.Record = await statement.fetchrow(*args)
    return row


class _Undone(Exception):
    """Rolls back what was done."""


@dataclass
class Explained:
    """A transaction: ``tx`` is explained, ``sql`` is a connection to its database for the rest."""

    tx: Tx
    raw: Raw

    @property
    def alone(self) -> Autocommit:
        """Return it for what is a transaction of its own, or begins one: here, in this one."""
        tx = self.tx
        return Autocommit(tx._raw, tx.definitions, tx.pauses, tx.runs, tx.results, tx.fingerprint)

    @property
    def sql(self) -> Any:
        """Its connection, for what is not to be judged."""
        return self.raw.raw

    @property
    def plans(self) -> list[Plan]:
        """What was executed."""
        return self.raw.plans


@contextlib.asynccontextmanager
async def explained(
    db: Database, *, first: str = "", is_judged: bool = True
) -> AsyncIterator[Explained]:
    """Open a transaction as the server does; what is done in it is undone."""
    with contextlib.suppress(_Undone):
        async with db.transaction(first=first) as tx:
            raw = Raw(tx._raw, is_judged)
            tx._raw = raw  # type: ignore[assignment]  # it does what one does
            tx.pauses = PauseCache()  # what another one had read is undone
            # A server's session ends a transaction that does nothing for a while; this one explains.
            await raw.raw.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            try:
                yield Explained(tx, raw)
            finally:
                tx._raw = raw.raw
            await _undo()


async def _undo() -> None:
    raise _Undone
