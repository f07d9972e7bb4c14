"""Long work within a transaction: PostgreSQL hears of it, and it waits for nobody's request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from computing import Steps, collected_as_a_server_does
from waiting import GIVE_UP

from zart_server import aside
from zart_server.domain.errors import ZartError
from zart_server.domain.graph import Graph, WrittenGraph
from zart_server.domain.model import StepSpec
from zart_server.store.db import Database
from zart_server.store.definitions import ensure_lanes, insert_definitions, read_definitions
from zart_server.store.sessions import IDLE_IN_TRANSACTION

LONGER = IDLE_IN_TRANSACTION + 1.0  # seconds


@contextmanager
def blocking() -> Iterator[tuple[threading.Event, threading.Event]]:
    """Return what work waits for that blocks a thread, and what it tells that it has begun by."""
    begun, go_on = threading.Event(), threading.Event()
    try:
        yield begun, go_on
    finally:
        go_on.set()


@pytest.fixture
async def usual(zart_database: str) -> AsyncIterator[Database]:
    """A database whose sessions are as a server's: a transaction may not be silent for long."""
    opened = await Database.open(zart_database)
    yield opened
    await opened.close()


async def test_a_transaction_goes_on_after_work_that_takes_longer_than_it_may_be_silent(
    usual: Database, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    with blocking() as (begun, go_on):

        def work(answer: int) -> int:
            begun.set()
            assert go_on.wait(GIVE_UP)
            return answer

        async def release() -> None:
            await asyncio.to_thread(begun.wait, GIVE_UP)
            await db.execute("SELECT pg_sleep($1)", LONGER)
            go_on.set()

        async with usual.transaction() as tx, asyncio.TaskGroup() as tasks:
            before = await tx.fetchval("SELECT pg_backend_pid()"), await tx.fetchval("SELECT now()")
            tasks.create_task(release())
            assert await tx.aside(aside.LARGE, work, 7) == 7
            assert before == (
                await tx.fetchval("SELECT pg_backend_pid()"),
                await tx.fetchval("SELECT now()"),
            )
            passed = await tx.fetchval(
                "SELECT extract(epoch FROM clock_timestamp() - now())::float8"
            )
            assert passed > LONGER


async def test_a_transaction_does_not_wait_for_the_requests_of_others(store: Database) -> None:
    with blocking() as (begun, go_on):

        def decode() -> None:
            begun.set()
            assert go_on.wait(GIVE_UP)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(aside.done(aside.LARGE, decode))
            await asyncio.to_thread(begun.wait, GIVE_UP)
            async with store.transaction() as tx, asyncio.timeout(GIVE_UP):
                assert await tx.aside(aside.LARGE, int, "7") == 7
            assert not go_on.is_set()
            go_on.set()


def test_whoever_may_hold_a_connection_has_it_heard_of_meanwhile() -> None:
    root = Path(aside.__file__).parent
    modules = [*(root / "engine").rglob("*.py"), *(root / "store").rglob("*.py")]
    users = [one.name for one in modules if "import aside" in one.read_text()]
    assert users == ["connection.py"]


async def test_work_that_fails_and_a_connection_that_is_lost_are_told(
    store: Database, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    with pytest.raises(ValueError, match="nothing"):
        async with store.transaction() as tx:
            await tx.aside(aside.LARGE, int, "nothing")
    with blocking() as (begun, go_on):

        def work() -> None:
            begun.set()
            assert go_on.wait(GIVE_UP)

        async def lose(pid: int) -> None:
            await asyncio.to_thread(begun.wait, GIVE_UP)
            await db.execute("SELECT pg_terminate_backend($1)", pid)

        async def wait_for_it(tasks: asyncio.TaskGroup) -> None:
            async with store.transaction() as tx:
                tasks.create_task(lose(await tx.fetchval("SELECT pg_backend_pid()")))
                await tx.aside(aside.LARGE, work)

        async with asyncio.TaskGroup() as tasks:
            with pytest.raises(ZartError):
                await wait_for_it(tasks)


async def test_many_small_graphs_that_are_read_hold_nobody_up(store: Database) -> None:
    graphs = [
        WrittenGraph.of([StepSpec(f"s{n}-{step}", handler="h") for step in range(200)])
        for n in range(150)
    ]
    async with store.transaction() as tx:
        stored = await insert_definitions(tx, [("t", 0, graph) for graph in graphs])
    with collected_as_a_server_does():
        async with store.transaction() as tx, Steps(asyncio.get_running_loop()) as steps:
            read = await read_definitions(tx, [one.definition_key for one in stored])
    assert len(read) == len(graphs)
    by_key = {one.definition_key: one.graph for one in read}
    assert all(by_key[one.definition_key] == one.graph for one in stored)
    assert steps.longest < 0.15  # seconds


async def test_many_handlers_hold_nobody_up(store: Database) -> None:
    graphs = [
        (
            f"t{n}",
            Graph.of([StepSpec(f"s{step}", handler=f"h{n}-{step}") for step in range(10_000)]),
        )
        for n in range(6)
    ]
    with collected_as_a_server_does():
        async with store.transaction() as tx:
            async with Steps(asyncio.get_running_loop()) as steps:
                lanes = await ensure_lanes(tx, graphs)
                again = await ensure_lanes(tx, graphs[::-1])
            assert await tx.fetchval("SELECT count(*) FROM zart.lanes") == len(lanes)
    assert lanes == again
    assert len(lanes) == len(set(lanes.values())) == 60_000
    assert steps.longest < 0.1  # seconds
