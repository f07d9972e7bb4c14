"""What operators are told to do when the primary is lost: nothing that was answered OK is lost."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil

import asyncpg
from rig import CHAIN, specs
from server.replicated import SCRIPT, Replicated, replicated
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


async def asked(pair: Replicated, name: str, statement: str) -> object:
    """Return what one of them answers to a statement."""
    db = await asyncpg.connect(pair.superuser(pair.port(name)))
    try:
        return await db.fetchval(statement)
    finally:
        await db.close()


async def check_follows(pair: Replicated, name: str) -> None:
    """Check that one of them is a replica, and has what was written before anything was lost."""
    assert await asked(pair, name, "SELECT pg_is_in_recovery()")
    assert await asked(pair, name, "SELECT number FROM kept") == 7


KEPT = "CREATE TABLE kept AS SELECT 7 AS number"


async def test_the_folder_of_the_lost_one_may_be_gone() -> None:
    """What the other one has is the only copy then."""
    with replicated() as pair:
        await asked(pair, "a", KEPT)
        pair.lose("a")
        shutil.rmtree(pair.folder / "a")

        assert pair.refused("rejoin").endswith("nothing was removed")
        assert pair.refused("pair").endswith("b is there already; nothing was made")
        assert pair.run("promote").startswith("b writes")
        pair.run("rejoin")

        await check_follows(pair, "a")


async def test_a_promotion_that_was_interrupted_is_done_again() -> None:
    with replicated() as pair:
        await asked(pair, "a", KEPT)
        pair.lose("a")
        pair.mark_as_replica("a")  # and no further did it come

        assert pair.refused("rejoin").endswith("nothing was removed")
        assert pair.run("promote").startswith("b writes")
        assert "nothing was changed" in pair.refused("promote")
        pair.start("a")  # as somebody may: it follows nobody, and takes no writes
        assert await asked(pair, "a", "SELECT pg_is_in_recovery()")
        assert "nothing was changed" in pair.refused("promote")

        pair.run("rejoin")
        await check_follows(pair, "a")


async def test_nothing_is_removed_unless_one_writes_and_the_other_does_not() -> None:
    """Files say of neither that it is a replica, once the one was promoted by hand, or by half."""
    with replicated() as pair:
        await asked(pair, "a", KEPT)
        pair.lose("a")
        assert "neither runs and writes" in pair.refused("rejoin")

        assert await asked(pair, "b", "SELECT pg_promote()")
        pair.start("a")
        assert "both write" in pair.refused("rejoin")

        pair.lose("a")
        pair.run("rejoin")
        await check_follows(pair, "a")
