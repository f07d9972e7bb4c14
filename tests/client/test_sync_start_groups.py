"""Starts of many threads: one of them sends for those that wait."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from client.starting import Call, starting
from client.test_start_groups import ALONE, BATCH
from rig import CHAIN, Rig, specs
from waiting import GIVE_UP, for_ever, until

import zart
from zart import errors
from zart.calls.execution import start
from zart.sync_start_groups import SyncStartGroups
from zart.testing.server import ServerUnderTest

THREADS = 8


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads."""
    with ThreadPoolExecutor(THREADS) as threads:
        yield threads


async def done(futures: list[Future[Any]]) -> list[Any]:
    """Wait for threads, and return what they return or raise."""
    return await asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True)


async def test_each_thread_has_its_own_answer(
    zart_server: ServerUnderTest, rig: Rig, pool: ThreadPoolExecutor
) -> None:
    await rig.client.register_task("t", specs(CHAIN))
    count = 20 * THREADS
    with zart.connect_sync(zart_server.address) as client:
        found = await done([
            pool.submit(client.start, "t" if n % 20 else "?", n, execution_id=f"x-{n}")
            for n in range(count)
        ])  # fmt: skip
        alone = await asyncio.to_thread(client.start, "t", execution_id="x", request_id="mine")

    assert [getattr(each, "execution_id", type(each)) for each in found] == [
        f"x-{n}" if n % 20 else errors.TaskDefinitionNotFound for n in range(count)
    ]
    assert alone.execution_id == "x"
    calls = await rig.db.fetch("SELECT DISTINCT request_id FROM zart_operations")
    assert len(calls) < 0.9 * count  # how many wait for one call is chance


async def test_what_comes_while_a_call_is_under_way_goes_when_it_ends(
    pool: ThreadPoolExecutor,
) -> None:
    asked: list[Call] = []
    may_end = asyncio.Event()

    async def behave(call: Call, _context: Any) -> None:
        if call[1] == ["first"]:
            await may_end.wait()

    async with starting(asked, behave) as address:
        with zart.connect_sync(address) as client:
            groups = SyncStartGroups(client, patience=GIVE_UP)
            threads = [pool.submit(groups.start, start("t", execution_id="first"))]
            await until(lambda: asked)
            names = [f"x-{n}" for n in range(THREADS - 1)]
            threads += [pool.submit(groups.start, start("t", execution_id=n)) for n in names]
            await until(lambda: len(groups._waiting) == len(names))
            may_end.set()
            found = await done(threads)

    assert [each.execution_id for each in found] == ["first", *names]
    assert [(method, sorted(of)) for method, of in asked] == [(ALONE, ["first"]), (BATCH, names)]


async def test_a_call_that_takes_long_holds_up_others_for_but_a_moment(
    pool: ThreadPoolExecutor,
) -> None:
    asked: list[Call] = []

    async def behave(call: Call, _context: Any) -> None:
        if call[1] == ["stuck"]:
            await for_ever()

    async with starting(asked, behave) as address:
        with zart.connect_sync(address, timeout=GIVE_UP) as client:
            stuck = pool.submit(client.start, "t", execution_id="stuck")
            await until(lambda: asked)
            others = [pool.submit(client.start, "t", execution_id=f"x-{n}") for n in range(20)]
            found = await done(others)
            assert not stuck.done()
        with contextlib.suppress(errors.Unreachable, ValueError):
            await asyncio.wrap_future(stuck)

    assert [each.execution_id for each in found] == [f"x-{n}" for n in range(20)]


async def test_each_waits_no_longer_than_the_client_does(pool: ThreadPoolExecutor) -> None:
    asked: list[Call] = []

    async def behave(_call: Call, _context: Any) -> None:
        await for_ever()

    async with starting(asked, behave) as address:
        with zart.connect_sync(address, timeout=0.3) as client:
            groups = SyncStartGroups(client, patience=GIVE_UP)
            threads = [pool.submit(groups.start, start("t", n)) for n in range(3)]
            found = await done(threads)
    assert [type(each) for each in found] == [errors.Unreachable] * 3
    assert len(asked) <= 3


async def test_a_failure_is_told_each_thread(
    guarded: ServerUnderTest, pool: ThreadPoolExecutor
) -> None:
    credentials = zart.Credentials(token="zart_token-of-viewer")
    with zart.connect_sync(guarded.address, credentials=credentials) as client:
        found = await done([pool.submit(client.start, "t") for _ in range(THREADS)])
    assert [type(each) for each in found] == [errors.RoleRequired] * THREADS
    assert len({id(each) for each in found}) == THREADS
