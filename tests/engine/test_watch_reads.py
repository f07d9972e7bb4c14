"""What watches read of the database: once for all of an execution, and nothing that stayed as it was."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from engine.watched import watched
from rig import CHAIN, Rig, eventually, maintain
from waiting import GIVE_UP, until

import zart
from zart import errors
from zart.testing.fixtures import execute
from zart.testing.server import ServerUnderTest
from zart_server.domain.errors import ExecutionNotFound
from zart_server.engine.background.followed import WatchUpdate
from zart_server.engine.background.watches import Watches
from zart_server.store.caches.definitions import DefinitionCache
from zart_server.store.db import Database

pytestmark = pytest.mark.usefixtures("nobody_polls")


async def test_all_watches_of_an_execution_are_told_by_one_read(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.start("x", CHAIN)
    watches = zart_server.running.runtime.watches
    async with zart.connect(zart_server.address) as others, asyncio.TaskGroup() as group:
        rigs = [rig, Rig(others, rig.db)]
        ends = [group.create_task(rigs[n % 2].client.handle("x").run()) for n in range(60)]

        async def all_watch() -> bool:
            followed = watches._followed.get(("x", None))
            return followed is not None and followed.watches == len(ends)

        await eventually(all_watch)
        (followed,) = watches._followed.values()
        before = followed.reads_begun
        await rig.work()
    assert {end.result().status for end in ends} == {"COMPLETED"}
    # Three leases and three reports, some of them read twice: not once for each watch.
    assert followed.reads_begun - before < len(ends) / 2


async def test_what_has_not_changed_is_not_read_again(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    runtime = zart_server.running.runtime

    async def poll() -> None:
        runtime.maintenance._next["watches"] = 0.0
        await maintain(zart_server)

    await rig.start("x", CHAIN)
    async with watched(rig, "x") as seen:
        (followed,) = runtime.watches._followed.values()
        digest = followed.digest
        assert digest

        async def is_let_be() -> bool:
            before = followed.reads_begun  # hints of the start may come late
            await poll()
            return followed.reads_begun == before

        await eventually(is_let_be)
        assert followed.digest == digest
        await rig.db.execute("UPDATE zart.runs SET status = 'running'")
        await poll()

        async def is_told() -> bool:
            return seen.state["run"] == "0 RUNNING"

        await eventually(is_told)


async def test_what_changes_while_it_is_read_for_the_first_time_is_read_again(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """Until then nobody knows which run it is that is watched."""
    await rig.start("x", CHAIN)
    run_key = await rig.db.fetchval("SELECT run_key FROM zart.runs")
    watches = zart_server.running.runtime.watches

    async with aclosing(rig.client.watch_execution("x")) as states:
        async with rig.locked("LOCK TABLE zart.executions IN ACCESS EXCLUSIVE MODE"):
            following = asyncio.ensure_future(anext(states))
            await until(
                lambda: [each.reads_begun for each in list(watches._followed.values())] == [1]
            )
            (followed,) = watches._followed.values()
            zart_server.loop.call_soon_threadsafe(watches.changed, {run_key})
        await following
        await until(lambda: followed.reads_done == 2)


async def test_a_watch_is_not_told_what_a_read_before_it_failed_with(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """What another one looked for in vain may have been started by then."""
    runtime = zart_server.running.runtime
    watches, hints = runtime.watches, runtime.watches._hints
    await rig.start("y", CHAIN)
    await rig.start("z", CHAIN)
    # A read that has not found x goes on to look up what y is defined as, and is held up there.
    runtime.db._definitions = DefinitionCache()
    hints._urgent_at = math.inf  # until both are read together
    async with (
        aclosing(rig.client.watch_execution("y")) as beside,
        aclosing(rig.client.watch_execution("x")) as early,
        aclosing(rig.client.watch_execution("x")) as late,
    ):
        async with rig.locked("LOCK TABLE zart.definitions IN ACCESS EXCLUSIVE MODE"):
            others = [asyncio.ensure_future(anext(each)) for each in (beside, early)]
            await until(lambda: len(hints._urgent) == len(others))
            hints._urgent_at = 0.0
            zart_server.loop.call_soon_threadsafe(hints.wake)
            await rig.until_waiting()
            followed = watches._followed["x", None]
            assert (followed.reads_begun, followed.reads_done) == (1, 0)
            await asyncio.to_thread(
                execute,
                zart_server.database_url,
                "SET LOCAL zart.purge = 'on';"
                "UPDATE zart.executions SET execution_id = 'x' WHERE execution_id = 'z'",
            )
            told = asyncio.ensure_future(anext(late))
            await until(lambda: followed.watches == 2)

        with pytest.raises(errors.ExecutionNotFound):
            await others[1]
        assert (await others[0]).run.status == "SCHEDULED"
        assert (await told).run.status == "SCHEDULED"


async def test_a_watch_tells_that_nothing_has_changed_without_a_read(
    rig: Rig, zart_database: str
) -> None:
    """So its caller sees that it lives; what changes after that is told as ever."""
    await rig.start("x", CHAIN)
    db = await Database.open(zart_database, pool_size=1)
    watches = Watches(db, longest=0.01)
    try:
        async with aclosing(watches.watch("x", None)) as states:
            first, second, third = [await anext(states) for _ in range(3)]
            (followed,) = watches._followed.values()
            assert [len(told.view.steps) for told in (first, second, third)] == [3, 0, 0]
            assert second.view.run == first.view.run
            assert second is third  # made once for all who watch it
            assert followed.reads_begun == 1
            await rig.lease(1)
            watches.changed_all()
            async for told in states:
                if told.view.steps:
                    break
            assert [step.status for step in told.view.steps] == ["running"]
    finally:
        watches.stop()
        await db.close()


async def test_a_poll_finds_what_was_removed_unheard(rig: Rig, zart_database: str) -> None:
    """It has no digest any more; under its id there may be another one, or none."""
    remove = "SET LOCAL zart.purge = 'on';" + "".join(
        f"DELETE FROM zart.{table};" for table in ("executions", "runs", "steps", "queue")
    )
    await rig.start("x", {"a": ()})
    db = await Database.open(zart_database, pool_size=1)
    watches = Watches(db)

    async def told(states: AsyncGenerator[WatchUpdate]) -> list[str]:
        async with asyncio.timeout(GIVE_UP):
            update = await anext(states)
        return [step.step_name for step in update.view.steps]

    try:
        async with aclosing(watches.watch("x", None)) as states:
            assert await told(states) == ["a"]
            await rig.db.execute(remove)
            await rig.start("x", {"b": ()})
            await watches.poll()
            assert await told(states) == ["b"]
            await rig.db.execute(remove)
            await watches.poll()
            with pytest.raises(ExecutionNotFound):
                await told(states)
    finally:
        watches.stop()
        await db.close()


async def test_a_run_of_another_history_with_the_same_key_is_told_whole(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """As after a failover that lost the start: the key was given out again, for other steps."""
    await rig.start("x", CHAIN)
    await rig.start("y", {"only": ()})
    async with watched(rig, "x") as seen:
        await rig.db.execute(
            "ALTER TABLE zart.runs DISABLE TRIGGER USER; ALTER TABLE zart.steps DISABLE TRIGGER USER;"
            " UPDATE zart.runs SET definition_key = ("
            "   SELECT definition_key FROM zart.runs ORDER BY run_key DESC LIMIT 1);"
            " DELETE FROM zart.steps WHERE step_no > 0"
        )
        zart_server.running.runtime.watches.changed_all()

        async def is_told() -> bool:
            return "only" in seen.state

        await eventually(is_told)
