"""Reports that come at once are recorded together, as far as that takes no long statement."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from computing import Steps, collected_as_a_server_does
from rig import Rig
from waiting import until

import zart
from zart.models import LeasedTask
from zart.testing.server import ServerUnderTest

LARGE = "r" * 1_000_000
TOGETHER = 8 * 1024 * 1024
LONGEST = 0.15  # seconds of CPU: a fifth of it as a rule, twice as long by one statement
# What each transaction recorded, one after the other.
_RECORDED = """
    SELECT sum(length(s.result::text)) AS size, count(*) AS steps,
           array_agg(e.execution_id) AS executions
    FROM zart.steps s JOIN zart.runs r USING (run_key) JOIN zart.executions e USING (execution_key)
    GROUP BY s.xmin::text::bigint ORDER BY s.xmin::text::bigint
"""


class Gathering:
    """Reports of single steps, which gather while the first of them cannot go on."""

    def __init__(self, rig: Rig, server: ServerUnderTest) -> None:
        self._rig = rig
        self._reports = server.running.runtime.dispatch._reports
        self._reporting: list[asyncio.Task[list[str]]] = []

    async def lease(self, count: int) -> list[LeasedTask]:
        """Start so many executions, and lease their steps, in the order of their ids."""
        await self._rig.client.register_task("t", [zart.StepSpec("a")])
        names = [f"x{n:04}" for n in range(count)]
        for at in range(0, count, 1000):
            starts = [zart.Start("t", {}, name) for name in names[at : at + 1000]]
            await self._rig.client.batch_start_executions(starts)
        tasks: list[LeasedTask] = []
        while len(tasks) < count:
            tasks += await self._rig.lease(1000)
        return sorted(tasks, key=lambda task: task.execution_id)

    async def begin(self, task: LeasedTask) -> None:
        """Report a step, and find that it cannot be recorded."""
        self._reporting.append(asyncio.create_task(self._rig.complete(task)))
        await self._rig.until_waiting()

    async def add(self, *calls: Sequence[LeasedTask], result: Any = None) -> None:
        """Have calls report that wait for the first one."""
        for tasks in calls:
            self._reporting.append(asyncio.create_task(self._rig.complete(*tasks, result=result)))
        await until(lambda: len(self._reports._waiting) == len(self._reporting) - 1)

    async def end(self) -> list[Any]:
        """Return what each transaction recorded."""
        for statuses in await asyncio.gather(*self._reporting):
            assert set(statuses) == {"RECORDED"}
        return list(await self._rig.db.fetch(_RECORDED))


async def test_what_is_large_is_recorded_in_pieces_and_what_is_small_first(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    gathering = Gathering(rig, zart_server)
    first, last, *large = await gathering.lease(62)
    with collected_as_a_server_does():
        async with rig.locked("LOCK TABLE zart.leases IN EXCLUSIVE MODE"):
            await gathering.begin(first)
            await gathering.add(*([task] for task in large), result=LARGE)
            await gathering.add([last])
        async with Steps(zart_server.loop) as steps:
            recorded = await gathering.end()

    assert [row["steps"] for row in recorded] == [1, 9, 8, 8, 8, 8, 8, 8, 4]
    assert max(row["size"] for row in recorded) <= TOGETHER
    assert last.execution_id in recorded[1]["executions"]
    assert steps.longest <= LONGEST  # everybody else is answered meanwhile


async def test_a_call_is_recorded_whole(rig: Rig, zart_server: ServerUnderTest) -> None:
    gathering = Gathering(rig, zart_server)
    first, *tasks = await gathering.lease(1_201)
    async with rig.locked("LOCK TABLE zart.leases IN EXCLUSIVE MODE"):
        await gathering.begin(first)
        await gathering.add(tasks[:400], tasks[400:800], tasks[800:])

    assert [row["steps"] for row in await gathering.end()] == [1, 800, 400]


async def test_one_call_may_be_larger(rig: Rig, zart_server: ServerUnderTest) -> None:
    gathering = Gathering(rig, zart_server)
    first, *large = await gathering.lease(11)
    async with rig.locked("LOCK TABLE zart.leases IN EXCLUSIVE MODE"):
        await gathering.begin(first)
        await gathering.add(large, result=LARGE)

    assert [row["steps"] for row in await gathering.end()] == [1, 10]
