"""PurgeExecutions: by plan, some a call, and on record."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pytest
from batching import start_many
from google.protobuf.duration_pb2 import Duration
from retaining import end_old, left, make_old, put_in_doubt
from rig import Rig

import zart
from zart import errors
from zart.testing.server import ServerUnderTest
from zart.v1 import retention_service_pb2 as pb
from zart.v1.retention_service_pb2_grpc import RetentionServiceStub
from zart_server.api.page_tokens import encode_cursor
from zart_server.domain.commands import Caller
from zart_server.domain.ended_cursor import FROM_THE_OLDEST, EndedCursor
from zart_server.domain.plans import PlanToken
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
    await end_old(rig.db)
    counts: list[int] = []
    token = ""
    while token or not counts:
        found = await rig.client.purge_executions(timedelta(days=30), page_token=token)
        counts.append(found.removed_executions)
        token = found.next_page_token
        assert bool(token) == found.is_partial
        for refused in (
            rig.client.purge_executions(timedelta(days=31), page_token=token or "none"),
            rig.client.purge_executions(timedelta(days=30), task_name="t", page_token="W1tb"),
            rig.client.purge_executions(
                timedelta(days=30), page_token=token or "none", validate_only=True
            ),
        ):
            with pytest.raises(errors.InvalidField) as error:
                await refused
            assert list(error.value.fields) == ["page_token"]
    assert sum(counts) == 2300
    assert max(counts) <= 1000  # and fewer where it takes long
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
    await end_old(rig.db)
    calls = await purge(zart_server, seconds=0.0, longest=60.0)
    counts = [sum(task.removed for task in found.tasks) for found in calls]
    assert (sum(counts), 0 in counts[:-1]) == (600, False)
    assert len(counts) > 2
    assert await left(rig.db) == ["doubted"]


async def test_calls_get_past_whatever_stays(rig: Rig, zart_server: ServerUnderTest) -> None:
    """Each has time for one look at a few, and many that stay are older than what may go."""
    await start_many(rig.client, 300, "kept")
    await put_in_doubt(rig.db, "t")
    await end_old(rig.db, days=10)
    await start_many(rig.client, 30)
    await end_old(rig.db)
    calls = await purge(zart_server, seconds=0.0, longest=0.0, piece=20)
    assert len(calls) == 330 // 20 + 2  # the last of the task, and that no other follows
    told = [task for found in calls for task in found.tasks]
    assert (sum(task.removed for task in told), sum(task.kept for task in told)) == (30, 300)
    assert {name[:4] for name in await left(rig.db)} == {"kept"}


async def purge(server: ServerUnderTest, **limits: Any) -> list[Purged]:
    """Purge what ended a month ago by as many calls as it takes, each within its limits."""
    calls: list[Purged] = []

    async def call(cursor: EndedCursor) -> Purged:
        async with server.running.runtime.db.transaction() as tx:
            wanted = PurgeExecutions(timedelta(days=30), None, cursor=cursor)
            return await purge_executions(tx, wanted, Caller(), **limits)

    cursor: EndedCursor | None = FROM_THE_OLDEST
    while cursor is not None:
        future = asyncio.run_coroutine_threadsafe(call(cursor), server.loop)
        calls.append(await asyncio.wrap_future(future))
        cursor = calls[-1].cursor
    return calls


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


async def test_a_time_finer_than_a_microsecond_follows_its_own_token(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await start_many(rig.client, 1100)
    await end_old(rig.db)
    request = pb.PurgeExecutionsRequest(older_than=Duration(seconds=60, nanos=1))
    async with grpc.aio.insecure_channel(zart_server.address) as channel:
        purge = RetentionServiceStub(channel).PurgeExecutions
        found = await purge(request)
        assert found.next_page_token
        while found.next_page_token:
            request.page_token = found.next_page_token
            found = await purge(request)
    assert await left(rig.db) == []


async def test_a_plan_that_was_begun_in_time_is_done_to_its_end(rig: Rig) -> None:
    await finished(rig, 2, days=40)
    plan = await rig.client.purge_executions(timedelta(days=30), validate_only=True)
    made = PlanToken.of_text(plan.plan_token)
    token = made._replace(made_at=made.made_at - timedelta(hours=2)).to_text()
    with pytest.raises(errors.PlanChanged) as refused:
        await rig.client.purge_executions(timedelta(days=30), plan_token=token)
    assert refused.value.metadata["changed"] == "time"
    request = pb.PurgeExecutionsRequest(older_than=Duration(seconds=30 * 86_400))
    page = encode_cursor(request, EndedCursor("s").to_positions())  # as of a call before
    done = await rig.client.purge_executions(timedelta(days=30), plan_token=token, page_token=page)
    assert done.removed_executions == 2


async def test_a_plan_that_could_not_look_at_all_says_so(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that began first are looked at, and what ended long ago may be behind them."""
    await start_many(rig.client, 30, "late")
    await make_old(rig.db, days=60)
    await end_old(rig.db, days=0)
    await start_many(rig.client, 10, "early")
    await rig.db.execute(
        "UPDATE zart.runs SET listed_at = now() - interval '50 days', status = 'completed',"
        " completed_at = now() - interval '50 days' WHERE completed_at IS NULL"
    )
    await rig.db.execute("DELETE FROM zart.queue")
    monkeypatch.setattr("zart_server.engine.operations.purge_executions._COUNTED", 20)
    plan = await rig.client.purge_executions(timedelta(days=30), validate_only=True)
    assert (plan.removed_executions, plan.is_partial) == (0, True)
    monkeypatch.undo()
    plan = await rig.client.purge_executions(timedelta(days=30), validate_only=True)
    assert (plan.removed_executions, plan.is_partial) == (10, False)


async def test_the_records_of_days_that_are_over_are_forgotten(rig: Rig) -> None:
    """Also where no server removes anything by itself, which does it too."""
    await rig.db.execute(
        "INSERT INTO zart.purge_records (day, task_name, caller) SELECT (statement_timestamp()"
        " AT TIME ZONE 'UTC')::date - ago, 't', '' FROM unnest(ARRAY[0, 3]) ago"
    )
    for validate_only, count in ((True, 2), (False, 1)):
        await rig.client.purge_executions(timedelta(days=30), validate_only=validate_only)
        assert await rig.db.fetchval("SELECT count(*) FROM zart.purge_records") == count


async def test_the_record_of_a_day_tells_the_latest_end(rig: Rig) -> None:
    ends = []
    for days in (30, 50):
        await finished(rig, 1, days=days + 10)
        done = await rig.client.purge_executions(timedelta(days=days), reason="asked to")
        assert done.removed_executions == 1
        ends.append(done.ended_before)
    (operation,) = await rig.client.list_operations(kind="PURGE")
    assert operation.made is not None
    assert (operation.made.removed_executions, operation.made.ended_before) == (
        2,
        max(filter(None, ends)),
    )
