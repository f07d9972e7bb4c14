"""What one server puts back before another one's low-water marks is leased there at once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from datetime import timedelta

import pytest
from rig import LONG, Rig, eventually, until_polled
from waiting import GIVE_UP

import zart
from zart.testing.server import ServerUnderTest, serving

LANES = 200  # more than one NOTIFY has room for


@pytest.fixture
def other(zart_database: str) -> Iterator[ServerUnderTest]:
    """A second server: its marks count at once, it does not look back, nor release anything."""
    with serving(zart_database) as server:
        runtime = server.running.runtime
        runtime.dispatch.low_water._old = timedelta(0)
        runtime.maintenance._due._back._all._rests_until = math.inf
        asyncio.run_coroutine_threadsafe(runtime.sweeps.stop(), server.loop).result()
        yield server


async def know_each_other(*servers: ServerUnderTest) -> None:
    told = [server.running.runtime._notifications for server in servers]

    async def do_they() -> bool:
        return all(each._peers for each in told)

    await eventually(do_they)


async def is_past_all(other: ServerUnderTest, elsewhere: zart.Client) -> None:
    """Wait until the other server's looks begin behind whatever was queued."""

    async def is_it() -> bool:
        assert await elsewhere.lease_tasks("d", ["t"]) == ()
        return other.running.runtime.dispatch.low_water.to_look(["t"]).since is not None

    await eventually(is_it)


async def test_a_resume_of_many_lanes_is_heard_of_by_the_other_servers(
    rig: Rig, zart_server: ServerUnderTest, other: ServerUnderTest
) -> None:
    async def is_paused() -> bool:
        return not await rig.db.fetchval(
            "SELECT EXISTS (SELECT FROM zart.queue) OR EXISTS (SELECT FROM zart.pause_work)"
        )

    await know_each_other(zart_server, other)
    steps = [zart.StepSpec(f"s{n}", handler=f"h{n}") for n in range(LANES)]
    await rig.client.start("t", execution_id="x", steps=steps)
    await rig.client.pause(task_name="t")
    await eventually(is_paused)
    async with zart.connect(other.address) as elsewhere:
        await is_past_all(other, elsewhere)
        polling = asyncio.create_task(elsewhere.lease_tasks("d", ["t"], max_tasks=LANES, wait=LONG))
        await until_polled(other)
        await rig.client.resume(task_name="t")
        leased = len(await polling)
        assert leased
        async with asyncio.timeout(GIVE_UP):  # the first of several messages may have woken it
            while leased < LANES:
                leased += len(await elsewhere.lease_tasks("d", ["t"], max_tasks=LANES))


async def test_what_is_given_back_unbegun_is_heard_of_by_the_other_servers(
    rig: Rig, zart_server: ServerUnderTest, other: ServerUnderTest
) -> None:
    await know_each_other(zart_server, other)
    await rig.start("x", {"a": ()})
    (task,) = await rig.lease()
    async with zart.connect(other.address) as elsewhere:
        await is_past_all(other, elsewhere)
        polling = asyncio.create_task(elsewhere.lease_tasks("d", ["t"], wait=LONG))
        await until_polled(other)
        await rig.report(
            zart.Outcome(task.task_id, task.lease_token, zart.Released(not_begun=True))
        )
        async with asyncio.timeout(GIVE_UP):
            assert [again.attempt for again in await polling] == [2]
