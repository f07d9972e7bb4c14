"""What a call is refused with whose caller has left concerns nobody: it is not in the log."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from rig import CHAIN, Rig, eventually

import zart
from zart.testing.server import ServerUnderTest

CALLS: dict[str, Callable[[zart.Client], Awaitable[object]]] = {
    "alone": lambda c: c.cancel_execution("x", expected_run_number=7),
    "batched": lambda c: c.restart("x", expected_run_number=7),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_nobody_is_told(rig: Rig, zart_server: ServerUnderTest, call: Any) -> None:
    told: list[dict[str, Any]] = []
    zart_server.loop.call_soon_threadsafe(
        zart_server.loop.set_exception_handler, lambda _, context: told.append(context)
    )
    await rig.start("x", CHAIN)
    async with rig.locked("SELECT FROM zart.executions FOR UPDATE"):
        leaving = asyncio.ensure_future(call(rig.client))
        await rig.until_waiting()
        leaving.cancel()
        await asyncio.wait([leaving])

    async def is_over() -> bool:
        """Return whether the server has refused what was asked."""
        waiting = await rig.db.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state <> 'idle' AND pid <> pg_backend_pid()"
        )
        return bool(waiting == 0)

    await eventually(is_over)
    assert (await rig.client.get_execution("x")).run.run_number == 0  # the loop has gone on
    collected = asyncio.run_coroutine_threadsafe(_collect(), zart_server.loop)
    await asyncio.wrap_future(collected)
    assert told == []


async def _collect() -> None:
    gc.collect()
