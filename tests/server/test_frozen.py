"""Who hangs with the pause lock in hand stops nobody: not for a Pause, and not while it waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from acceptance.serve_process import serve_processes
from rig import CHAIN, Rig, specs

import zart
from zart import errors
from zart.testing.server import serving
from zart_server.store.pausing.rules import PAUSE_LOCK

STANDSTILL = 5.0  # seconds; at most 3 where nothing else keeps the machine busy


async def longest_while(waiting: Awaitable[Any], client: zart.Client) -> float:
    """Start and lease until something is done; gives the longest that one took, in seconds."""
    task, longest, number = asyncio.ensure_future(waiting), 0.0, 0
    while not task.done():
        begun = time.monotonic()
        await client.start("going", execution_id=f"going-{number}", steps=specs({"a": ()}))
        assert await client.lease_tasks("d", ["going"])
        longest, number = max(longest, time.monotonic() - begun), number + 1
    await asyncio.wait([task])
    assert number > 0
    return longest


async def test_a_server_that_is_frozen_within_a_claim_stops_nobody(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    with serve_processes(2, zart_database, tmp_path) as (freezing, other):
        async with (
            zart.connect(freezing.address) as there,
            zart.connect(other.address) as here,
        ):
            await here.start("t", execution_id="x", steps=specs(CHAIN))
            async with db.transaction():
                await db.execute("LOCK TABLE zart.leases IN EXCLUSIVE MODE")
                claim = asyncio.create_task(there.lease_tasks("d", ["t"]))
                await Rig(there, db).until_waiting()  # with the pause lock in hand, shared
                frozen = freezing.frozen()
                frozen.__enter__()
            try:
                pausing = asyncio.create_task(here.pause(task_name="t"))
                assert await longest_while(pausing, here) < STANDSTILL
                assert (await pausing).rule.status == "ACTIVE"
            finally:
                frozen.__exit__(None, None, None)
            # What it had claimed was rolled back: nothing is leased under the rule.
            await asyncio.gather(claim, return_exceptions=True)
            assert (await there.get_execution("x")).steps[0].status == "PAUSED"


async def test_a_pause_that_gives_up_names_who_holds_the_lock(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    await db.execute("SET application_name = 'a stuck script'")
    await db.execute("SELECT pg_advisory_lock_shared($1)", PAUSE_LOCK)
    with serving(zart_database, operation_timeout=6) as server:
        async with zart.connect(server.address) as client:
            pausing = asyncio.create_task(client.pause(task_name="t", request_id="p"))
            assert await longest_while(pausing, client) < STANDSTILL
            with pytest.raises(errors.OperationTimeout, match=r"held by a stuck script \(pid"):
                await pausing
            assert await client.list_pause_rules() == []
            await db.execute("SELECT pg_advisory_unlock_shared($1)", PAUSE_LOCK)
            assert not (await client.pause(task_name="t", request_id="p")).replayed
