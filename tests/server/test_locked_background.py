"""What nobody calls for goes on beside what somebody has locked for long, and comes to its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from acceptance.serve_process import serve_processes
from rig import LONG, Rig, eventually, specs

import zart
from zart_server.engine.background.looks import ExpiredLooks

SHORT = 1.0  # seconds: the shortest lease
HELD = 600.0  # seconds: a lease that ends when a test says so
_EXPIRE = """
    UPDATE zart.leases SET lease_expires_at = now() - $2::interval WHERE run_key = (
        SELECT r.run_key FROM zart.runs r JOIN zart.executions e USING (execution_key)
        WHERE e.execution_id = $1)
"""


@pytest.fixture
async def process(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> AsyncIterator[Rig]:
    """A server that is a process, and waits for locks as long as it does by default."""
    with serve_processes(1, zart_database, tmp_path) as (server,):
        async with zart.connect(server.address, timeout=LONG) as client:
            yield Rig(client, db)


def rows_of(table: str, execution_id: str) -> str:
    """Return the statement that locks one row of a table of an execution's run."""
    return (
        f"SELECT FROM zart.{table} WHERE ctid = (SELECT ctid FROM zart.{table} WHERE run_key = ("
        " SELECT r.run_key FROM zart.runs r JOIN zart.executions e USING (execution_key)"
        f" WHERE e.execution_id = '{execution_id}') LIMIT 1) FOR UPDATE"
    )


async def lost(rig: Rig, *execution_ids: str) -> None:
    """Wait until the steps of executions are leased anew, as their leases were swept."""
    left = set(execution_ids)

    async def are_leased() -> bool:
        left.difference_update(task.execution_id for task in await rig.lease() if task.attempt > 1)
        return not left

    await eventually(are_leased)


@pytest.mark.parametrize("table", ["leases", "runs"])
async def test_leases_are_swept_beside_one_that_cannot_be(process: Rig, table: str) -> None:
    for name in ("w", "x", "y", "z"):
        await process.start(name, {"a": ()})
    assert len(await process.lease(lease_duration=SHORT)) == 4
    async with process.locked(rows_of(table, "x")):
        await lost(process, "w", "y", "z")
    await lost(process, "x")


async def test_leases_are_swept_beside_more_of_a_locked_run_than_a_look_finds(
    process: Rig, zart_database: str
) -> None:
    """Which end before the others: no look finds any but these."""
    await process.start("wide", {f"s{n}": () for n in range(ExpiredLooks.MOST + 10)})
    assert len(await process.lease(1000, lease_duration=HELD)) > ExpiredLooks.MOST
    await process.start("y", {"a": ()})
    await process.lease_one("a", "y", lease_duration=HELD)
    other = await asyncpg.connect(zart_database)
    try:
        async with process.locked(rows_of("runs", "wide")):
            await other.execute(_EXPIRE, "wide", timedelta(seconds=2))
            await other.execute(_EXPIRE, "y", timedelta(seconds=1))
            await lost(process, "y")
    finally:
        await other.close()


async def test_leases_are_swept_beside_those_that_need_a_locked_table(process: Rig) -> None:
    """Of what is dead: no look at rows tells which leases these are."""
    once = zart.Retry(max_attempts=1)
    for number in range(30):
        await process.start(f"dies-{number}", {"a": ()}, retry=once)
        await process.start(f"y-{number}", {"a": ()})
    assert len(await process.lease(lease_duration=SHORT)) == 60
    async with process.locked("LOCK TABLE zart.dead_steps"):
        await lost(process, *(f"y-{number}" for number in range(30)))

    async def are_dead() -> bool:
        names = [f"dies-{number}" for number in range(30)]
        return all([await process.run_status(name) == "FAILED" for name in names])

    await eventually(are_dead)


async def test_leases_are_swept_and_tasks_become_due_beside_a_locked_table(process: Rig) -> None:
    """Of breakers, which are looked at each second: neither has to do with them."""
    await process.start("x", {"a": ()}, retry=zart.Retry(max_attempts=3, initial_backoff=1.0))
    await process.start("y", {"a": ()})
    [first, second] = sorted(
        await process.lease(lease_duration=SHORT), key=lambda task: task.execution_id
    )
    async with process.locked("LOCK TABLE zart.breakers"):
        await process.fail(first, retryable=True)
        await lost(process, "x", "y")
    assert second.attempt == 1


async def test_rules_end_beside_a_lease_that_cannot_be_swept(process: Rig) -> None:
    await process.start("x", {"a": ()}, task="u")
    assert len(await process.lease(task="u", lease_duration=SHORT)) == 1
    async with process.locked(rows_of("leases", "x")):
        await process.client.pause(task_name="t", expires_in=2.0)
        await process.start("y", {"a": ()})
        (task,) = await process.lease(wait=LONG / 2)
        assert task.execution_id == "y"


async def test_rules_are_released_and_settled_beside_steps_that_are_locked(process: Rig) -> None:
    """The oldest rule's come first; its other steps go on as well."""
    client = process.client
    for task in ("t", "u", "v"):
        await client.register_task(task, specs({"a": ()}))
    first, second = [await client.pause(task_name=task) for task in ("t", "u")]
    for task, name in (("t", "x"), ("t", "y"), ("u", "z"), ("v", "w")):
        await client.start(task, execution_id=name)
    async with process.locked(rows_of("held", "x")):
        await client.resume(rule_id=first.rule_id)
        await client.resume(rule_id=second.rule_id)
        third = await client.pause(task_name="v")
        leased = set[str]()

        async def are_leased() -> bool:
            found = await client.lease_tasks("d", ["t", "u"], max_tasks=10)
            leased.update(task.execution_id for task in found)
            return leased == {"y", "z"}

        async def is_settled() -> bool:
            # pause_work has what is left to do of each rule
            left: int = await process.db.fetchval(
                "SELECT count(*) FROM zart.pause_work w JOIN zart.pause_rules r USING (rule_key)"
                " WHERE r.rule_id = $1",
                third.rule_id,
            )
            return left == 0

        await eventually(are_leased)
        await eventually(is_settled)
    (last,) = await client.lease_tasks("d", ["t"], wait=LONG)
    assert last.execution_id == "x"


async def test_who_had_no_server_to_speak_to_is_heard_before_its_lease_is_swept(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    """All of it done, while nobody was there to be told; what nobody tells of is swept later."""
    with serve_processes(1, zart_database, tmp_path) as (server,):
        async with zart.connect(server.address, timeout=LONG) as client:
            rig = Rig(client, db)
            await rig.start("x", {"a": ()})
            (told,) = await rig.lease(lease_duration=60.0)
            await rig.start("y", {"a": ()})
            await rig.lease(lease_duration=SHORT)
    await db.execute("UPDATE zart.leases SET lease_expires_at = now() - interval '1 minute'")
    with serve_processes(1, zart_database, tmp_path) as (server,):
        async with zart.connect(server.address, timeout=LONG) as client:
            rig = Rig(client, db)
            await lost(rig, "y")
            assert await rig.complete(told) == ["RECORDED"]
