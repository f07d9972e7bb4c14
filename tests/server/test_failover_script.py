"""What operators are told to do when the primary is lost: nothing that was answered OK is lost."""

from __future__ import annotations

import asyncio
import contextlib
import re

import asyncpg
from rig import CHAIN, specs
from server.replicated import SCRIPT, replicated
from waiting import eventually, until

import zart
from zart.testing.server import serving

PAGE = (SCRIPT.parents[1] / "docs/operating.md").read_text()


def test_the_page_has_the_lines_that_are_run() -> None:
    assert re.findall(r"^deploy/failover.sh (\w+)", PAGE, re.MULTILINE) == [
        "pair",
        "promote",
        "rejoin",
    ]


async def test_what_was_answered_is_there_and_leases_go_on() -> None:
    with replicated() as pair, serving(pair.url) as server:
        async with zart.connect(server.address, timeout=30) as client:
            await client.register_task("t", specs(CHAIN))
            await client.start("t", execution_id="leased")
            (leased,) = await client.lease_tasks("d", ["t"], lease_duration=600)
            answered: list[str] = []
            starting = asyncio.create_task(starts(client, answered))
            await until(lambda: len(answered) >= 20)

            told = await asyncio.to_thread(pair.run, "promote")
            before = len(answered)
            await until(lambda: len(answered) >= before + 20)
            starting.cancel()

            assert told.startswith(f"b writes, on port {pair.ports[1]}")
            done = zart.Outcome(leased.task_id, leased.lease_token, zart.Completed(None))
            assert [r.status for r in await client.report_tasks("d", [done])] == ["RECORDED"]
            assert (await client.get_step("leased", "b")).status == "SCHEDULED"
            there = {e.execution_id async for e in client.list_executions(task_name="t")}
            assert set(answered) <= there

            await asyncio.to_thread(pair.run, "rejoin")
            db = await asyncpg.connect(pair.superuser(pair.ports[1]))

            async def is_replicated() -> bool:
                found = await db.fetch(
                    "SELECT application_name, sync_state FROM pg_stat_replication"
                )
                return [tuple(row) for row in found] == [("a", "sync")]

            await eventually(is_replicated)
            await db.close()
            await client.start("t", execution_id="after")


async def starts(client: zart.Client, answered: list[str]) -> None:
    """Start executions, one after the other, and note those that were answered OK."""
    number = 0
    while True:
        number += 1
        with contextlib.suppress(zart.ZartError):
            await client.start("t", execution_id=f"x{number}")
            answered.append(f"x{number}")
