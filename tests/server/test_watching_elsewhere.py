"""A watch hears of what another server does: that one is told at once that somebody watches."""

from __future__ import annotations

import asyncio

from rig import Rig, eventually, specs
from waiting import GIVE_UP

import zart
from zart.testing.server import ServerUnderTest, serving


async def test_the_other_server_is_told_of_the_first_watch(
    rig: Rig, zart_server: ServerUnderTest, zart_database: str
) -> None:
    with serving(zart_database) as other:
        here, there = (s.running.runtime._notifications for s in (zart_server, other))

        async def know_each_other() -> bool:
            return bool(here._peers and there._peers)

        async def knows_of_the_watch() -> bool:
            return any(peer.watches for peer in there._peers.values())

        await eventually(know_each_other)
        assert not await knows_of_the_watch()
        async with zart.connect(other.address) as elsewhere:
            await elsewhere.start("t", execution_id="x", steps=specs({"a": ()}))
            watching = asyncio.create_task(rig.client.handle("x").run())
            await eventually(knows_of_the_watch)
            (task,) = await elsewhere.lease_tasks("d", ["t"])
            outcome = zart.Outcome(task.task_id, task.lease_token, zart.Completed(1))
            await elsewhere.report_tasks("d", [outcome])
            assert (await asyncio.wait_for(watching, GIVE_UP)).status == "COMPLETED"
