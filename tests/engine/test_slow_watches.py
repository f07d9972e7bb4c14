"""An execution that cannot be read in time: its neighbours are told, and it is read seldom."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import asyncpg
import pytest
from rig import CHAIN, Rig

from zart_server.domain.commands import ExecutionView
from zart_server.domain.errors import OperationTimeout, StoreConflict, ZartError
from zart_server.engine.background import watches as watching
from zart_server.engine.background.slow_reads import SlowReads
from zart_server.engine.background.watches import Watches
from zart_server.store.connection import Connection
from zart_server.store.db import Database
from zart_server.store.reads.executions import get_executions


@dataclass
class Reads:
    """Reads executions, but some end as they do in PostgreSQL when they take too long."""

    slow: set[str] = field(default_factory=set)
    error: type[asyncpg.PostgresError] = asyncpg.QueryCanceledError
    done: list[list[str]] = field(default_factory=list)

    async def read(
        self,
        connection: Connection,
        wanted: Sequence[tuple[str, int | None]],
        digested: Collection[int] = (),
    ) -> list[ExecutionView | ZartError]:
        """Read executions."""
        names = [name for name, _ in wanted]
        self.done.append(names)
        if self.slow & set(names):
            raise self.error
        return await get_executions(connection, wanted, digested)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """The reads of all watches."""
    reads = Reads()
    monkeypatch.setattr(watching, "get_executions", reads.read)
    return reads


@pytest.fixture
async def watches(zart_database: str) -> AsyncIterator[Watches]:
    """The watches of a server that is told nothing."""
    db = await Database.open(zart_database, pool_size=1)
    watches = Watches(db)
    yield watches
    watches.stop()
    await db.close()


async def told(watches: Watches, *names: str) -> list[str | type[BaseException]]:
    """Begin to watch executions at once, and return what each watch is told first."""

    async def first(name: str) -> str:
        async with aclosing(watches.watch(name, None)) as states:
            return (await anext(states)).view.execution.execution_id

    found = await asyncio.gather(*map(first, names), return_exceptions=True)
    return [each if isinstance(each, str) else type(each) for each in found]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (asyncpg.QueryCanceledError, OperationTimeout),
        (asyncpg.LockNotAvailableError, StoreConflict),
    ],
)
async def test_what_cannot_be_read_in_time_fails_its_own_watches_only(
    rig: Rig,
    watches: Watches,
    reads: Reads,
    error: type[asyncpg.PostgresError],
    expected: type[ZartError],
) -> None:
    for name in ("x", "slow", "y"):
        await rig.start(name, CHAIN)
    reads.slow, reads.error = {"slow"}, error

    assert await told(watches, "x", "slow", "y") == ["x", expected, "y"]
    assert reads.done == [["x", "slow", "y"], ["x"], ["slow"], ["y"]]


async def test_it_is_read_alone_from_then_on_and_seldom(
    rig: Rig, watches: Watches, reads: Reads
) -> None:
    for name in ("x", "slow"):
        await rig.start(name, CHAIN)
    reads.slow = {"slow"}
    await told(watches, "slow")
    reads.done.clear()
    watches._slow._rest_until = math.inf
    assert await told(watches, "slow", "x") == [OperationTimeout, "x"]
    assert reads.done == [["x"]]

    reads.done.clear()
    reads.slow.clear()
    watches._slow._rest_until = 0.0
    for _ in range(2):  # then it is one among others again
        assert await told(watches, "slow", "x") == ["slow", "x"]
    assert reads.done == [["x"], ["slow"], ["slow", "x"]]


async def test_if_nothing_can_be_read_in_time_not_each_is_tried(
    rig: Rig, watches: Watches, reads: Reads
) -> None:
    names = ["a", "b", "c", "d", "e"]
    for name in names:
        await rig.start(name, CHAIN)
    reads.slow = set(names)
    assert await told(watches, *names) == [OperationTimeout] * 5
    assert reads.done == [names, ["a"], ["b"]]


def test_the_rest_after_a_slow_read_is_several_times_as_long() -> None:
    now = 100.0
    slow = SlowReads(lambda: now)
    assert slow.may_read
    slow.timed_out(("x", None), 70.0)
    assert (("x", None) in slow, ("x", 0) in slow) == (True, False)
    now = 219.0
    assert not slow.may_read
    now = 220.0
    assert slow.may_read
    slow.were_read([("x", None), ("y", None)])
    assert ("x", None) not in slow


def test_so_many_slow_ones_are_remembered_and_no_more() -> None:
    slow = SlowReads(lambda: 0.0)
    for number in range(1_001):
        slow.timed_out(("x", number), 0.0)
    assert [("x", number) in slow for number in (0, 1, 1_000)] == [False, True, True]
