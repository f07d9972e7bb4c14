"""PurgeExecutions: by plan, some a call, and on record."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from batching import start_many
from retaining import left, make_old
from rig import Rig

import zart
from zart import errors
from zart.testing.server import ServerUnderTest
from zart_server.domain.commands import Caller
from zart_server.domain.retention import Purged, PurgeExecutions
from zart_server.engine.operations.purge_executions import purge_executions


async def finished(rig: Rig, count: int, *, task: str = "t", days: int = 0) -> None:
    """Have so many executions of a task begun and completed, so many days ago."""
    for n in range(count):
        await rig.start(f"{task}-{n}-{days}", {"a": ()}, task=task)
    await rig.work(task=task)
    await make_old(rig.db, days=days)


async def test_a_plan_tells_what_is_removed_then(rig: Rig) -> None:
    await finished(rig, 2, task="u", days=40)
    await finished(rig, 2, days=40)
    await rig.start("doubted", {"a": ()}, if_in_doubt=zart.IfInDoubt.STOP)
    task = await rig.lease_one("a", "doubted")
    await rig.report(zart.Outcome(task.task_id, task.lease_token, zart.Lost()))
    await make_old(rig.db, days=40)
    plan = await rig.client.purge_executions(timedelta(days=30), validate_only=True)
    assert (plan.planned, plan.is_partial) == (True, False)
    assert [(t.task_name, t.removed_executions, t.kept_executions) for t in plan.tasks] == [
        ("t", 2, 1), ("u", 2, 0),
    ]  # fmt: skip
    assert len(await left(rig.db)) == 5

    with pytest.raises(errors.PlanChanged):
        await rig.client.purge_executions(timedelta(days=31), plan_token=plan.plan_token)
    done = await rig.client.purge_executions(
        timedelta(days=30), plan_token=plan.plan_token, request_id="r", reason="asked to"
    )
    assert (done.planned, done.tasks) == (False, plan.tasks)
    assert done.ended_before == plan.ended_before
    assert await left(rig.db) == ["doubted"]
    again = await rig.client.purge_executions(
        timedelta(days=30), plan_token=plan.plan_token, request_id="r", reason="asked to"
    )
    assert again.replayed
    assert again.removed_executions == 4
    recorded = await rig.client.list_operations(kind="PURGE")
    assert {(o.task_name, o.reason, o.made and o.made.removed_executions) for o in recorded} == {
        ("t", "asked to", 2), ("u", "asked to", 2),
    }  # fmt: skip


async def test_only_what_is_meant_goes(rig: Rig) -> None:
    await finished(rig, 1, task="u", days=40)
    await finished(rig, 1, days=40)
    await finished(rig, 1, days=0)
    await rig.start("unfinished", {"a": ()})
    found = await rig.client.purge_executions(timedelta(days=30), task_name="t")
    assert [(t.task_name, t.removed_executions) for t in found.tasks] == [("t", 1)]
    assert await left(rig.db) == ["t-0-0", "u-0-40", "unfinished"]
    for given in (0, timedelta(days=40_000)):
        with pytest.raises(errors.InvalidField):
            await rig.client.purge_executions(given)


async def test_many_are_removed_by_several_calls(rig: Rig) -> None:
    await start_many(rig.client, 2300)
    await rig.db.execute(
        "UPDATE zart.runs SET status = 'completed', completed_at = statement_timestamp()"
    )
    await rig.db.execute("DELETE FROM zart.queue")
    await make_old(rig.db, days=40)
    counts = []
    while True:
        found = await rig.client.purge_executions(timedelta(days=30))
        counts.append(found.removed_executions)
        if not found.is_partial:
            break
    assert (sum(counts), len(counts)) == (2300, 3)
    (operation,) = await rig.client.list_operations(kind="PURGE")
    assert operation.made is not None
    assert operation.made.removed_executions == 2300
    stats = await rig.client.get_stats()
    assert {s.executions for s in stats.statuses} == {0}
    assert {"runs", "steps"} <= {t.table_name for t in stats.tables}
    assert stats.database_bytes > 0 < min(t.bytes for t in stats.tables if t.table_name == "runs")


async def test_each_call_goes_on_however_little_time_it_has(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await doubted(rig, "a")
    await start_many(rig.client, 600)
    await rig.db.execute(
        "UPDATE zart.runs SET status = 'completed', completed_at = statement_timestamp()"
        " WHERE completed_at IS NULL AND listed_task = 't'"
    )
    await make_old(rig.db, days=40)

    async def call() -> Purged:
        async with zart_server.running.runtime.db.transaction() as tx:
            wanted = PurgeExecutions(timedelta(days=30), None)
            return await purge_executions(tx, wanted, Caller(), seconds=0.0)

    counts = []
    is_partial = True
    while is_partial:
        found = await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(call(), zart_server.loop)
        )
        counts.append(sum(task.removed for task in found.tasks))
        is_partial = found.is_partial
    assert counts == [250, 250, 100, 0]
    assert await left(rig.db) == ["doubted"]


async def test_what_may_not_go_is_not_locked(rig: Rig) -> None:
    await doubted(rig, "t")
    await make_old(rig.db, days=40)
    locked = "SELECT e.xmax::text FROM zart.executions e"  # what locked it last, if anything did
    before = await rig.db.fetchval(locked)
    found = await rig.client.purge_executions(timedelta(days=30))
    assert (found.removed_executions, found.kept_executions) == (0, 1)
    assert await rig.db.fetchval(locked) == before


async def doubted(rig: Rig, task_name: str) -> None:
    """Have an execution of a task that ended with an attempt in doubt."""
    await rig.start("doubted", {"a": ()}, task=task_name, if_in_doubt=zart.IfInDoubt.STOP)
    task = await rig.lease_one("a", "doubted", task=task_name)
    await rig.report(zart.Outcome(task.task_id, task.lease_token, zart.Lost()))
