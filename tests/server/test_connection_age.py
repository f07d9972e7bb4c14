"""Callers connect anew now and then, so that they learn of other servers; no call is lost by it."""

from __future__ import annotations

import asyncio

from acceptance.cutting import Cutter
from dispatching import dispatching
from waiting import GIVE_UP

import zart
from zart.testing.server import serving

_CALLS = 300


async def test_connections_end_by_age_and_calls_do_not(zart_database: str) -> None:
    task = zart.Task("t")

    @task.step()
    async def once(_ctx: zart.StepContext) -> str:
        return "done"

    async def follow(client: zart.Client, n: int) -> None:
        assert await client.run("t", execution_id=f"x-{n}") == "done"
        assert (await client.restart(f"x-{n}")).new_run_number == 1

    with serving(zart_database, connection_age=0.3) as server:
        async with Cutter(server.address) as way, zart.connect(way.address) as client:
            await client.register_task("t", task.specs)
            async with dispatching(server, task, address=way.address):
                for first in range(0, _CALLS, 10):
                    calls = (follow(client, n) for n in range(first, first + 10))
                    await asyncio.wait_for(asyncio.gather(*calls), GIVE_UP)
            assert way.connections > 3
