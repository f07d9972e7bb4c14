"""A request_id makes a repeat safe: once, and the first response again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from batching import dead_steps, until_batch
from retaining import make_old
from rig import CHAIN, Rig, eventually

import zart
from zart import errors
from zart.testing.server import ServerUnderTest
from zart_server.domain import filters
from zart_server.domain.plans import PlanToken
from zart_server.engine.background import own_clock
from zart_server.store.retention.removing import ALLOW_PURGE


async def test_a_repeat_gives_the_first_response_whatever_happened_since(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    first = await rig.client.restart("x", request_id="r1", expected_run_number=0)
    await rig.client.restart("x")
    again = await rig.client.restart("x", request_id="r1", expected_run_number=0)

    assert (first.replayed, again.replayed) == (False, True)
    assert (again.new_run_number, again.run) == (1, first.run)
    assert len(await rig.client.list_runs("x")) == 3


async def test_a_repeated_start_tells_when_it_was_created_though_its_execution_is_gone(
    rig: Rig,
) -> None:
    """As when it is removed while the repeat is under way."""
    steps = [zart.StepSpec("a")]
    await rig.client.register_task("t", steps)
    first = await rig.client.start("t", execution_id="x", request_id="r1")
    assert first.execution is not None
    assert first.execution.created_at is not None
    async with rig.db.transaction():
        await rig.db.execute(ALLOW_PURGE)
        for table in ("queue", "leases", "steps", "runs", "executions"):
            await rig.db.execute(f"DELETE FROM zart.{table}")
    again = await rig.client.start("t", execution_id="x", request_id="r1")

    assert again.execution == first.execution
    assert await rig.db.fetchval("SELECT count(*) FROM zart.executions") == 0  # it did nothing


async def test_a_different_request_under_the_same_id_is_refused(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.client.restart("x", request_id="r1")
    with pytest.raises(errors.RequestIdReused):
        await rig.client.restart("x", request_id="r1", reason="other")
    assert len(await rig.client.list_runs("x")) == 2


async def test_a_batch_is_repeated_however_long_ago_its_executions_began_by_then(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its filter asks who started them, which is told of some days only."""
    await rig.client.start("t", execution_id="x", steps=[zart.StepSpec("a")], triggered_by="ann")
    since = datetime.now(UTC) - timedelta(days=6)
    wanted = zart.ExecutionFilter(triggered_by="ann", created_after=since)

    async def create(**options: Any) -> Any:
        return await rig.client.create_batch(zart.CancelExecution(), filter=wanted, **options)

    plan = await create(validate_only=True)
    first = await create(request_id="r1")
    monkeypatch.setattr(filters, "_SLACK", timedelta(days=-2))  # as if it were two days later
    again = await create(request_id="r1")
    assert (again.replayed, again.batch_id) == (True, first.batch_id)
    for asked in ({"request_id": "r2"}, {"validate_only": True}):
        with pytest.raises(errors.FilterTooBroad) as refused:
            await create(**asked)
        assert set(refused.value.fields) == {"selection.filter.created_after"}
    with pytest.raises(errors.FilterTooBroad):
        await rig.client.list_executions(wanted)
    await until_batch(rig.client, first.batch_id, "COMPLETED")
    with pytest.raises(errors.NothingSelected):  # what it was planned for is cancelled by now
        await create(plan_token=plan.plan_token)


OTHER_PLAN = PlanToken(datetime.now(UTC), b"a restart", ()).to_text()


async def test_a_batch_is_made_once_whichever_plan_a_repeat_has(rig: Rig) -> None:
    await dead_steps(rig.client, 3)
    which: Any = {"filter": zart.ExecutionFilter(step_statuses=["DEAD"])}
    plan = await rig.client.create_batch(zart.RetryStep(), **which, validate_only=True)
    which["request_id"] = "r1"
    made = await rig.client.create_batch(zart.RetryStep(), **which, plan_token=plan.plan_token)
    await dead_steps(rig.client, 2, "y")
    del which["request_id"]
    other = await rig.client.create_batch(zart.RetryStep(), **which, validate_only=True)
    which["request_id"] = "r1"
    assert other.plan_token != plan.plan_token
    for token in (plan.plan_token, other.plan_token, OTHER_PLAN, ""):
        again = await rig.client.create_batch(zart.RetryStep(), **which, plan_token=token)
        assert again.replayed
        assert again.batch == made.batch
    assert len(await rig.client.list_batches()) == 1


async def test_a_purge_is_done_once_whichever_plan_a_repeat_has(rig: Rig) -> None:
    async def grow_old(execution_id: str) -> str:
        await rig.start(execution_id, {"a": ()})
        await rig.work()
        await make_old(rig.db)
        return (await rig.client.purge_executions(span, validate_only=True)).plan_token

    span = timedelta(days=30)
    first = await grow_old("x")
    done = await rig.client.purge_executions(span, plan_token=first, request_id="r1")
    assert done.removed_executions == 1
    for token in (first, await grow_old("y"), OTHER_PLAN, ""):
        again = await rig.client.purge_executions(span, plan_token=token, request_id="r1")
        assert (again.replayed, again.tasks) == (True, done.tasks)
    assert (await rig.client.get_execution("y")).execution.status == "COMPLETED"


async def test_a_resume_is_done_once_whichever_plan_a_repeat_has(rig: Rig) -> None:
    async def pause() -> str:
        await rig.client.pause(task_name="t")
        return (await rig.client.resume(task_name="t", validate_only=True)).plan_token

    await rig.start("x", CHAIN)
    first = await pause()
    done = await rig.client.resume(task_name="t", plan_token=first, request_id="r1")
    for token in (first, await pause(), OTHER_PLAN, ""):
        again = await rig.client.resume(task_name="t", plan_token=token, request_id="r1")
        assert (again.replayed, again.rules) == (True, done.rules)
    assert len([rule async for rule in rig.client.list_pause_rules()]) == 1


async def test_it_is_scoped_to_the_rpc(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.client.restart("x", request_id="same")
    assert not (await rig.client.cancel_execution("x", request_id="same")).replayed


async def test_concurrent_repeats_do_it_once(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    answers = await asyncio.gather(*(rig.client.restart("x", request_id="once") for _ in range(10)))
    assert sorted(a.replayed for a in answers) == [False, *[True] * 9]
    assert {a.new_run_number for a in answers} == {1}
    assert len(await rig.client.list_runs("x")) == 2


async def test_a_clear_failure_leaves_nothing_and_may_be_repeated(rig: Rig) -> None:
    with pytest.raises(errors.ExecutionNotFound):
        await rig.client.restart("x", request_id="r1")
    await rig.start("x", CHAIN)
    assert not (await rig.client.restart("x", request_id="r1")).replayed


async def test_every_mutation_takes_one(rig: Rig) -> None:
    steps = [zart.StepSpec("a")]
    call = rig.client
    batch = [zart.Start("t", 1, "b1", steps), zart.Start("t", 2, "b2", steps)]
    for _ in range(2):
        await call.start("t", execution_id="x", steps=steps, request_id="start")
        await call.batch_start_executions(batch, request_id="batch")
    await rig.work(fail=["a"])
    pauses = [await call.pause(task_name="t", request_id="p") for _ in range(2)]
    retries = [await call.retry_step("x", "a", request_id="retry") for _ in range(2)]
    resumes = [await call.resume(everything=True, request_id="res") for _ in range(2)]
    reruns = [await call.rerun("x", request_id="rerun") for _ in range(2)]
    cancels = [await call.cancel_execution("x", request_id="c") for _ in range(2)]

    for answers in (pauses, retries, resumes, reruns, cancels):
        assert [a.replayed for a in answers] == [False, True]
    assert pauses[0].rule == pauses[1].rule
    assert pauses[0].paused_steps == pauses[1].paused_steps
    assert resumes[1].rules_deleted == 1
    assert len(await call.list_runs("x")) == 2
    assert len(await call.list_pause_rules(include_deleted=True)) == 1


async def test_a_call_whose_caller_gave_up_happened_once_or_not_at_all(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    async with rig.locked("SELECT FROM zart.executions FOR NO KEY UPDATE"):
        impatient = zart.Client(rig.client.channel, timeout=0.3)
        with pytest.raises(zart.Unreachable):
            await impatient.restart("x", request_id="r1")
    again = await rig.client.restart("x", request_id="r1", triggered_by=impatient.triggered_by)

    assert again.new_run_number == 1
    assert len(await rig.client.list_runs("x")) == 2


async def test_the_operations_record_names_the_request(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.client.restart("x", request_id="r1", triggered_by="ops", reason="why")
    operation = (await rig.client.list_operations(execution_id="x"))[0]

    assert (operation.request_id, operation.triggered_by, operation.reason) == ("r1", "ops", "why")
    assert operation.run_number == 1
    assert operation.made is not None
    assert operation.made.run_id == "x:run:1"


async def test_a_pause_is_answered_before_its_counts_are_stored(rig: Rig) -> None:
    """A repeat waits for them, and does not count anew."""
    await rig.db.execute(
        "CREATE FUNCTION public.hold_up() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NEW; END $$;"
        " CREATE TRIGGER hold_up BEFORE UPDATE ON zart.requests"
        " FOR EACH ROW EXECUTE FUNCTION public.hold_up()"
    )
    await rig.start("x", CHAIN)
    async with rig.locked("SELECT pg_advisory_xact_lock(7)"):
        first = await rig.client.pause(task_name="t", request_id="once")
        await rig.until_waiting()
        await rig.start("y", CHAIN)
        repeating = asyncio.create_task(rig.client.pause(task_name="t", request_id="once"))
        await asyncio.wait([repeating], timeout=0.3)
        assert not repeating.done()
    again = await repeating

    assert (first.paused_steps, first.replayed) == (1, False)
    assert (again.paused_steps, again.replayed, again.rule) == (1, True, first.rule)


async def test_what_is_older_than_a_week_goes_however_much_it_is(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """A piece of it each second: one each minute would not keep up with many starts."""
    await rig.db.execute(
        "INSERT INTO zart.requests (caller, rpc, request_id, fingerprint, created_at)"
        " SELECT '', 'Restart', n::text, '', now() - CASE WHEN n > 12000 THEN interval '6 days'"
        " ELSE interval '8 days' END FROM generate_series(1, 12001) n"
    )
    zart_server.running.runtime.maintenance._next["purge"] = 0.0

    async def is_one_left() -> bool:
        left: int = await rig.db.fetchval("SELECT count(*) FROM zart.requests")
        return left == 1

    await eventually(is_one_left, within=40.0)  # by three pieces


async def test_none_goes_by_a_clock_that_is_days_ahead(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a replica which is promoted: what is a week old by the server's clock, too, goes."""
    monkeypatch.setattr(own_clock, "own_time", lambda: datetime.now(UTC) - timedelta(days=3))
    await rig.db.execute(
        "INSERT INTO zart.requests (caller, rpc, request_id, fingerprint, created_at)"
        " SELECT '', 'Restart', n::text, '', now() - n * interval '1 day'"
        " FROM generate_series(8, 12) n"
    )
    zart_server.running.runtime.maintenance._next["purge"] = 0.0

    async def are_left() -> bool:
        rows = await rig.db.fetch("SELECT request_id FROM zart.requests ORDER BY created_at DESC")
        return [row[0] for row in rows] == ["8", "9"]

    await eventually(are_left)
