"""Who hangs with the pause lock in hand stops nobody: not for a Pause, and not while it waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from acceptance.serve_process import serve_processes
from rig import CHAIN, eventually, specs
from silence import Silence

import zart
from zart import errors
from zart.testing.server import serving
from zart_server.store.pausing.rules import PAUSE_LOCK

MIB = 2**20
LONG = "x" * (MIB - 2)
MANY = range(60)  # steps, more than one statement records
STANDSTILL = 10.0  # seconds; at most 3 where nothing else keeps the machine busy


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
                await eventually(lambda: is_claiming(db))
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


async def is_claiming(db: asyncpg.Connection[asyncpg.Record]) -> bool:
    """Return whether a session that waits for the table of leases has the pause lock, shared.

    A sweep of leases waits for it, too, and has not.
    """
    found: bool = await db.fetchval(
        "SELECT EXISTS (SELECT FROM pg_locks waits JOIN pg_locks has USING (pid)"
        " WHERE NOT waits.granted AND waits.relation = 'zart.leases'::regclass"
        " AND waits.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND has.granted AND has.locktype = 'advisory' AND has.mode = 'ShareLock'"
        " AND has.classid::bigint << 32 | has.objid::bigint = $1)",
        PAUSE_LOCK,
    )
    return found


async def test_a_server_that_is_frozen_while_it_sends_much_stops_nobody(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    """PostgreSQL waits for the rest of eight mebibytes, in a transaction that has locks."""
    async with Silence(zart_database) as silence:
        with ExitStack() as stack:
            servers = serve_processes(1, zart_database, tmp_path / "here")
            (other,) = stack.enter_context(servers)
            servers = serve_processes(1, silence.url, tmp_path / "there")
            # In a thread, as what it is asked passes through this loop.
            (freezing,) = await asyncio.to_thread(stack.enter_context, servers)
            async with (
                zart.connect(freezing.address) as there,
                zart.connect(other.address) as here,
            ):
                await here.start("t", execution_id="x", steps=specs({f"s{n}": () for n in MANY}))
                outcomes = [
                    zart.Outcome(
                        task.task_id, task.lease_token, zart.Completed(LONG if n < 8 else 0)
                    )
                    for n, task in enumerate(await there.lease_tasks("d", ["t"], max_tasks=60))
                ]
                silence.choke(MIB)
                reporting = asyncio.create_task(there.report_tasks("d", outcomes))
                await silence.choked.wait()
                with freezing.frozen():
                    await eventually(lambda: is_any_locked(db))
                    pausing = asyncio.create_task(here.pause(task_name="t"))
                    assert await longest_while(pausing, here) < STANDSTILL
                    again = await here.report_tasks("d", outcomes)
                # What was in hand there was rolled back, and is recorded once.
                assert {result.status for result in again} == {"RECORDED"}
                with suppress(errors.Unavailable):  # its caller is to repeat it
                    assert {result.status for result in await reporting} == {"ALREADY_RECORDED"}


async def is_any_locked(db: asyncpg.Connection[asyncpg.Record]) -> bool:
    """Return whether a session that waits for its server has the pause lock, or rows of runs."""
    found: bool = await db.fetchval(
        "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE wait_event = 'ClientRead' AND granted AND pid <> pg_backend_pid()"
        " AND (locktype = 'advisory' OR relation = 'zart.runs'::regclass AND mode = 'RowShareLock'))"
    )
    return found


async def test_a_pause_that_gives_up_names_who_holds_the_lock(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    await db.execute("SET application_name = 'a stuck script'")
    await db.execute("SELECT pg_advisory_lock_shared($1)", PAUSE_LOCK)
    with serving(zart_database, operation_timeout=12) as server:
        async with zart.connect(server.address) as client:
            pausing = asyncio.create_task(client.pause(task_name="t", request_id="p"))
            assert await longest_while(pausing, client) < STANDSTILL
            with pytest.raises(errors.OperationTimeout, match=r"held by a stuck script \(pid"):
                await pausing
            assert await client.list_pause_rules() == []
            await db.execute("SELECT pg_advisory_unlock_shared($1)", PAUSE_LOCK)
            assert not (await client.pause(task_name="t", request_id="p")).replayed
