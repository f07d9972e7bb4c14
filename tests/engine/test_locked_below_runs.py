"""Somebody locks a row of one run, and not the run: what is of other runs goes on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import asyncpg
import pytest
from patient import patient_database
from rig import CHAIN, LONG, Rig, eventually, maintain
from waiting import until

import zart
from zart.testing.server import ServerUnderTest
from zart_server.domain.dispatch import Completed, Outcome
from zart_server.engine.dispatch.report import record_outcomes
from zart_server.store.leases import LeaseKey
from zart_server.store.locked_rows import find_locked_runs
from zart_server.store.pausing.rules import SEIZE_PAUSE_LOCK

WITHIN = 8.0  # seconds, on a machine however busy; it took 10, or as long as the row was locked
JOIN = {"a": (), "b": (), "c": ("a", "b")}
RUNS = "SELECT r.run_key FROM zart.runs r JOIN zart.executions USING (execution_key)"
LEASE, STEP = (
    f"SELECT FROM zart.{table} WHERE step_no = {{}} AND run_key IN ({RUNS} WHERE execution_id = $1)"
    " FOR UPDATE"
    for table in ("leases", "steps")
)
RUN = f"{RUNS} WHERE execution_id = $1 FOR UPDATE OF r"


async def all_is_recorded_once(rig: Rig) -> None:
    """Do what is left, and see that no attempt was made twice."""
    await rig.work()
    rows = await rig.db.fetch("SELECT DISTINCT status, attempt FROM zart.steps")
    assert [tuple(row) for row in rows] == [("completed", 1)]
    assert not await rig.db.fetchval("SELECT count(*) FROM zart.attempts")


@pytest.mark.parametrize(
    ("graph", "row"),
    [
        pytest.param(CHAIN, LEASE.format(0), id="lease, by one statement"),
        pytest.param(CHAIN, STEP.format(0), id="step, by one statement"),
        pytest.param(JOIN, LEASE.format(0), id="lease"),
        pytest.param(JOIN, STEP.format(0), id="step"),
        pytest.param(JOIN, STEP.format(2), id="the step after it"),
        pytest.param(CHAIN, RUN, id="run"),
    ],
)
async def test_reports_of_other_runs_are_recorded(
    rig: Rig, graph: Mapping[str, tuple[str, ...]], row: str
) -> None:
    for name in ("x", "y", *(f"z{n}" for n in range(5))):
        await rig.start(name, graph)
    await rig.lease()
    locked, with_it = rig.leased["x", "a"], rig.leased["y", "a"]

    async def is_recorded() -> bool:
        return (await rig.statuses("y"))["a"] == "COMPLETED"

    async with rig.locked(row, "x"):
        reporting = asyncio.create_task(rig.complete(locked, with_it))
        await eventually(is_recorded, WITHIN)  # of the same call
        for number in range(5):
            others = rig.complete(rig.leased[f"z{number}", "a"])
            assert await asyncio.wait_for(others, WITHIN) == ["RECORDED"]
        await asyncio.wait_for(rig.client.pause(task_name="nobody"), WITHIN)
        await rig.until_waiting()
        assert not reporting.done()

    assert await reporting == ["RECORDED"] * 2
    await rig.complete(*(t for key, t in rig.leased.items() if key[1] != "a"))
    await all_is_recorded_once(rig)


async def test_a_late_outcome_of_an_attempt_in_doubt_keeps_no_others_waiting(rig: Rig) -> None:
    await rig.start("x", {"a": (), "z": ()}, if_in_doubt=zart.IfInDoubt.STOP)
    await rig.start("y", JOIN)
    await rig.lease()
    late = rig.leased["x", "a"]
    await rig.report(zart.Outcome(late.task_id, late.lease_token, zart.Lost()))
    async with rig.locked("SELECT FROM zart.in_doubt FOR UPDATE"):
        reporting = asyncio.create_task(rig.complete(late, rig.leased["y", "a"]))
        await rig.until_waiting()
        others = rig.complete(rig.leased["y", "b"])
        assert await asyncio.wait_for(others, WITHIN) == ["RECORDED"]
        assert (await rig.statuses("y"))["a"] == "COMPLETED"
        assert not reporting.done()

    assert await reporting == ["LEASE_LOST", "RECORDED"]
    assert await rig.db.fetchval("SELECT late_status FROM zart.in_doubt") == "completed"


async def test_a_run_that_is_locked_for_a_moment_waits_for_none_that_is_for_long(
    rig: Rig, zart_server: ServerUnderTest, zart_database: str
) -> None:
    for name in ("y", *(f"x{n}" for n in range(6))):
        await rig.start(name, {"a": ()})
    tasks = await rig.lease()
    (short,) = (task for task in tasks if task.execution_id == "y")
    lines = zart_server.running.runtime.dispatch._reports._room._lines
    other = await asyncpg.connect(zart_database)
    try:
        async with rig.locked(f"{RUNS} WHERE execution_id <> 'y' FOR UPDATE OF r"):
            stuck = [asyncio.create_task(rig.complete(t)) for t in tasks if t is not short]
            await until(lambda: len(lines) == len(stuck))
            await rig.until_waiting(2)
            async with other.transaction():
                await other.execute(RUN, "y")
                late = asyncio.create_task(rig.complete(short))
                await until(lambda: short.task_id.partition("-")[0] in lines)
            assert await asyncio.wait_for(late, WITHIN) == ["RECORDED"]
            assert not any(task.done() for task in stuck)
    finally:
        await other.close()

    assert await asyncio.gather(*stuck) == [["RECORDED"]] * len(stuck)
    assert not lines
    await all_is_recorded_once(rig)


async def test_what_waits_for_the_pause_lock_waits_for_that_as_usual(
    rig: Rig, zart_database: str
) -> None:
    """A Pause that has to wait takes its time: a batch that fell apart then would take longer."""
    await rig.start("x", JOIN)
    await rig.lease()
    await rig.complete(rig.leased["x", "a"])
    task = rig.leased["x", "b"]
    outcomes = [Outcome(task.task_id, task.lease_token, Completed("1"))]
    db = await patient_database(zart_database)

    async def record() -> None:
        async with db.autocommit() as connection:
            assert await record_outcomes(connection, outcomes, patience=0.001) is not None

    async def has_waited() -> bool:
        await rig.db.execute("SELECT pg_stat_clear_snapshot()")
        return bool(
            await rig.db.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND clock_timestamp() - query_start > interval '0.2 s'"
                " AND datname = current_database()"
            )
        )

    try:
        async with rig.locked(SEIZE_PAUSE_LOCK):
            recording = asyncio.create_task(record())
            await eventually(has_waited)
            assert not recording.done()
        await recording
    finally:
        await db.close()
    assert (await rig.statuses())["c"] == "SCHEDULED"


@pytest.mark.parametrize("row", [LEASE.format(0), STEP.format(0)], ids=["lease", "step"])
async def test_the_runs_are_named_that_keep_a_batch_waiting(
    rig: Rig, zart_database: str, row: str
) -> None:
    for name in ("x", "y"):
        await rig.start(name, JOIN)
    leases = [
        lease
        for t in await rig.lease()
        if (lease := LeaseKey.of_task(t.task_id, t.lease_token, "")) is not None
    ]
    locked = await rig.db.fetchval(f"{RUNS} WHERE execution_id = 'x'")
    db = await patient_database(zart_database)
    try:
        async with db.transaction() as tx:
            assert await find_locked_runs(tx, leases) == set()
        async with rig.locked(row, "x"), db.transaction() as tx:
            assert await find_locked_runs(tx, leases) == {locked}
    finally:
        await db.close()


async def test_leases_of_other_runs_are_extended(rig: Rig) -> None:
    for name in ("x", "y"):
        await rig.start(name, {"a": ()})
    tasks = await rig.lease()
    leases = [zart.Lease(task.task_id, task.lease_token) for task in tasks]
    before = {task.task_id: task.lease_expires_at for task in tasks}
    async with rig.locked(LEASE.format(0), "x"):
        done = await asyncio.wait_for(rig.client.extend_leases("d", leases), WITHIN)

    assert [each.extended for each in done] == [True, True]
    later = [each.lease_expires_at != before[each.task_id] for each in done]
    assert later == [task.execution_id == "y" for task in tasks]


@pytest.mark.parametrize("table", ["queue", "steps", "runs"])
async def test_tasks_of_other_runs_are_leased(rig: Rig, table: str) -> None:
    for name in ("x", "y"):
        await rig.start(name, {"a": ()})
    async with rig.locked(
        f"SELECT FROM zart.{table} WHERE run_key IN ({RUNS} WHERE execution_id = 'x') FOR UPDATE"
    ):
        found = await asyncio.wait_for(rig.lease(), WITHIN)
    # Who leases asks for nothing but the queue's row, and leaves a locked run as it is.
    assert [task.execution_id for task in found] == (["y"] if table == "queue" else ["x", "y"])
    assert len(found) + len(await rig.lease()) == 2


async def test_the_lane_of_a_task_may_be_locked(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    async with rig.locked("SELECT FROM zart.lanes FOR UPDATE"):
        assert await asyncio.wait_for(rig.lease(), WITHIN)


@pytest.mark.parametrize("row", [LEASE.format(0), STEP.format(0)], ids=["lease", "step"])
async def test_expired_leases_of_other_runs_are_swept(
    rig: Rig, zart_server: ServerUnderTest, row: str
) -> None:
    stopping = zart_server.running.runtime.lease_sweeps.stop()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(stopping, zart_server.loop))

    async def have_failed() -> bool:
        await maintain(zart_server)  # which passes over what was locked, for a while
        return [await rig.run_status(name) for name in "xy"] == ["FAILED"] * 2

    for name in ("x", "y"):  # their steps die, so that they are written
        await rig.start(name, {"a": ()}, retry=zart.Retry(max_attempts=1))
    await rig.lease(lease_duration=LONG)
    await rig.db.execute("UPDATE zart.leases SET lease_expires_at = statement_timestamp()")

    async with rig.locked(row, "x"):
        await asyncio.wait_for(maintain(zart_server), WITHIN)
        assert [await rig.statuses(name) for name in "xy"] == [{"a": "RUNNING"}, {"a": "DEAD"}]
    await eventually(have_failed)
    assert await rig.db.fetchval("SELECT count(*) FROM zart.attempts WHERE swept") == 2
