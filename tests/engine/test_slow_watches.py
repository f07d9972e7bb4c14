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
    leaves: asyncio.Task[object] | None = None  # who ends during the next read

    async def read(
        self,
        connection: Connection,
        wanted: Sequence[tuple[str, int | None]],
        digested: Collection[int] = (),
    ) -> list[ExecutionView | ZartError]:
        """Read executions."""
        names = [name for name, _ in wanted]
        self.done.append(names)
        if self.leaves:
            self.leaves.cancel()
            await asyncio.wait([self.leaves])
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
    await told(watches, "x", "slow")
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

    reads.done.clear()
    reads.slow.clear()
    for _ in range(2):  # it was none of theirs: once the database is well all are read at once
        assert await told(watches, *names) == names
    assert reads.done == [names] * 2


async def test_others_are_tried_next_time_and_none_is_read_alone_while_nothing_can_be_read(
    rig: Rig, watches: Watches, reads: Reads
) -> None:
    names = ["a", "b", "c", "d"]
    for name in names:
        await rig.start(name, CHAIN)
    reads.slow = {"a", "b", "c", "d"}
    for tried in (["a"], ["b"]), (["c"], ["d"]), (["a"], ["b"]):
        reads.done.clear()
        assert await told(watches, *names) == [OperationTimeout] * 4
        assert reads.done == [names, *tried]

    reads.slow = {"a", "b"}
    reads.done.clear()
    for _ in range(2):
        assert await told(watches, *names) == [OperationTimeout] * 2 + ["c", "d"]
        watches._slow._rest_until = math.inf
    assert reads.done == [names, ["c"], ["d"], ["a"], ["b"], ["c", "d"]]


@pytest.mark.parametrize(("read_between", "expected"), [(["x"], [["x"], ["slow"]]), ([], None)])
async def test_one_that_is_read_alone_is_slow_if_another_was_read_since_it_timed_out(
    rig: Rig,
    watches: Watches,
    reads: Reads,
    read_between: list[str],
    expected: list[list[str]] | None,
) -> None:
    for name in ("x", "slow"):
        await rig.start(name, CHAIN)
    reads.slow = {"slow"}
    await told(watches, "slow")
    await told(watches, *read_between)
    await told(watches, "slow")
    reads.done.clear()
    watches._slow._rest_until = 0.0
    assert await told(watches, "slow", "x") == [OperationTimeout, "x"]
    assert reads.done == (expected or [["slow", "x"], ["x"], ["slow"]])


async def two_slow_ones(rig: Rig, watches: Watches, reads: Reads) -> None:
    """Have "s1", and then "s2", time out while "x" is read; from now on they can be read."""
    for name in ("x", "s1", "s2"):
        await rig.start(name, CHAIN)
    reads.slow = {"s1", "s2"}
    await told(watches, "x", "s1", "s2")
    reads.slow.clear()
    reads.done.clear()
    watches._slow._rest_until = 0.0


async def test_the_one_that_timed_out_longest_ago_is_read_first(
    rig: Rig, watches: Watches, reads: Reads
) -> None:
    await two_slow_ones(rig, watches, reads)
    assert await told(watches, "s2", "s1") == ["s2", "s1"]
    assert reads.done == [["s1"], ["s2"]]


async def test_one_that_nobody_watches_any_more_is_not_read(
    rig: Rig, watches: Watches, reads: Reads
) -> None:
    await two_slow_ones(rig, watches, reads)
    reads.leaves = asyncio.create_task(told(watches, "s2"))
    assert await told(watches, "s1") == ["s1"]
    assert await told(watches, "x") == ["x"]
    assert reads.leaves.cancelled()
    assert reads.done == [["s1"], ["x"]]


def test_the_rest_after_a_slow_read_is_several_times_as_long() -> None:
    now = 100.0
    slow = SlowReads(lambda: now)
    slow.timed_out([("x", None), ("y", None)], 40.0)
    slow.were_read([("y", None)])
    assert slow.may_read
    assert ("x", None) not in slow
    slow.timed_out([("x", None)], 70.0)
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
        slow.timed_out([("x", number)], 0.0)
        slow.were_read([("y", None)])
        slow.timed_out([("x", number)], 0.0)
    assert [("x", number) in slow for number in (0, 1, 1_000)] == [False, True, True]
