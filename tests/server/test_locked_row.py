"""What one execution's lock keeps waiting is who wants that execution, and nobody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import asyncpg
from rig import CHAIN, Rig, specs

import zart
from zart.testing.server import serving

CALLERS = 100
STANDSTILL = 5.0  # seconds; they took 10, and ended UNAVAILABLE


async def test_a_locked_execution_takes_a_share_of_the_pool_only(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    with serving(zart_database) as server:
        async with zart.connect(server.address, timeout=60) as client:
            rig = Rig(client, db)
            await rig.start("x", {f"s{n}": () for n in range(40)})
            tasks = await rig.lease()
            await rig.start("y", CHAIN)
            wants: list[Callable[[], Coroutine[Any, Any, Any]]] = [
                lambda: client.restart("x"),
                lambda: client.retry_step("x", "s0"),
                lambda: client.rerun("x", force_rerun=["s0"]),
                lambda: client.rerun("x", force_rerun=["s0"], validate_only=True),
                lambda: client.cancel_execution("x"),
            ]
            async with rig.locked(
                "SELECT FROM zart.executions JOIN zart.runs USING (execution_key)"
                " WHERE execution_id = 'x' FOR UPDATE"
            ):
                waiting: list[asyncio.Task[Any]]
                waiting = [asyncio.create_task(wants[n % 5]()) for n in range(CALLERS)]
                waiting += [asyncio.create_task(rig.complete(task)) for task in tasks]
                await rig.until_waiting(2)
                others: list[Callable[[], Coroutine[Any, Any, Any]]] = [
                    lambda: client.get_execution("y"),
                    lambda: client.get_step("y", "a"),
                    lambda: client.start("other", execution_id="z", steps=specs(CHAIN)),
                    lambda: client.lease_tasks("d", ["other"], wait=10),
                    lambda: client.restart("y"),
                    lambda: client.pause(task_name="nobody"),
                    lambda: client.cancel_execution("y"),
                ]
                for other in others:
                    begun = time.monotonic()
                    await other()
                    assert time.monotonic() - begun < STANDSTILL
                assert not all(task.done() for task in waiting)
            await asyncio.gather(*waiting, return_exceptions=True)
            # Nobody is left behind: the lines are empty, and the next is served at once.
            assert (await client.restart("x")).new_run_number > 0
