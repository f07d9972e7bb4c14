"""Judges the plans of statements, as the server runs them, on tables that have many rows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from zart_server.store.connection import Tx
from zart_server.store.db import Database

MANY = 20_000


@dataclass
class Plan:
    """How one statement was executed."""

    sql: str
    nodes: list[dict[str, Any]]

    def read(self, table: str) -> int:
        """Return how many rows of a table, or entries of its indexes, were looked at."""
        rows: float = sum(
            (
                node["Actual Rows"]
                + node.get("Rows Removed by Filter", 0)
                + node.get("Rows Removed by Index Recheck", 0)
            )
            * node["Actual Loops"]
            for node in self.nodes
            if node.get("Relation Name") == table and "Scan" in node["Node Type"]
        )
        return round(rows)

    @property
    def indexes(self) -> set[str]:
        """The indexes that were used."""
        return {node["Index Name"] for node in self.nodes if "Index Name" in node}

    @property
    def combines(self) -> bool:
        """Whether two indexes were combined, of which one may be read as a whole."""
        return any(node["Node Type"] == "BitmapAnd" for node in self.nodes)

    @property
    def whole(self) -> set[str]:
        """The tables that were read from end to end."""
        return {
            node["Relation Name"]
            for node in self.nodes
            if node["Node Type"] == "Seq Scan" and node["Actual Loops"]
        }


@dataclass
class Explained:
    """Stands in for a Tx: keeps the plan of each statement, and runs it."""

    tx: Tx
    plans: list[Plan] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tx, name)

    async def begin(self, how: str = "BEGIN") -> Explained:
        """Stand in for an Autocommit too, in the transaction that is undone."""
        await self.tx.execute(how)
        return self

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        await self._explain(sql, args)
        return await self.tx.fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: object) -> asyncpg.Record | None:
        await self._explain(sql, args)
        return await self.tx.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: object) -> Any:
        await self._explain(sql, args)
        return await self.tx.fetchval(sql, *args)

    async def execute(self, sql: str, *args: object) -> int:
        await self._explain(sql, args)
        return await self.tx.execute(sql, *args)

    async def _explain(self, sql: str, args: Sequence[object]) -> None:
        """Run a statement and undo what it did; its plan is the generic one, as the server's."""
        await self.tx.execute("SAVEPOINT before")
        text = await self.tx.fetchval(
            f"EXPLAIN (ANALYZE, VERBOSE, TIMING off, FORMAT json) {sql}", *args
        )
        await self.tx.execute("ROLLBACK TO SAVEPOINT before")
        self.plans.append(Plan(sql, list(_nodes(json.loads(text)[0]["Plan"]))))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


class _Undo(Exception):
    """Rolls back what a test did."""


async def _undo() -> None:
    raise _Undo


@asynccontextmanager
async def explained(url: str, **how: Any) -> AsyncIterator[Explained]:
    """Open a transaction as the server does, whose statements are explained; it is undone."""
    db = await Database.open(url)
    try:
        async with db.transaction(**how) as tx:
            yield Explained(tx)
            await _undo()
    except _Undo:
        return
    finally:
        await db.close()


def check(plans: list[Plan], most: int, *also: str) -> None:
    """Each statement reads at most so many rows of each large table, none of them whole."""
    assert plans
    for plan in plans:
        tables = ("executions", "runs", "steps", "queue", "held", "operations", "requests", *also)
        assert not plan.whole.intersection(tables), plan.sql
        assert not plan.combines, plan.sql
        for table in tables:
            assert plan.read(table) <= most, (table, plan.read(table), plan.sql)
