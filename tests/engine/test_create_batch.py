"""CreateBatch: what it selects, what it does to it, and what it tells of that."""

from __future__ import annotations

from typing import Any

import pytest
from batching import ONE, check_totals, dead_steps, fail_all, start_many, until_batch
from rig import CHAIN, LONG, Rig

import zart
from zart import errors
from zart.models import IfRunning


async def test_dead_steps_are_retried_each_once(rig: Rig) -> None:
    await dead_steps(rig.client, 7)
    await rig.start("alive", ONE)
    created = await rig.client.create_batch(zart.RetryStep(), everything=True, reason="mended")
    assert created.batch is not None
    assert (created.batch.counts.selected, created.planned) == (7, False)

    batch = await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert (batch.counts.done, batch.counts.refused, batch.counts.pending) == (7, 0, 0)
    assert batch.outcomes is not None
    assert batch.outcomes.scheduled == 7
    assert batch.operation == zart.RetryStep()
    await check_totals(rig.db, created.batch_id)
    await rig.work()
    done = await rig.client.get_batch(created.batch_id)
    assert done.outcomes is not None
    assert done.outcomes.completed == 7


async def test_items_tell_what_was_done_and_what_became_of_it(rig: Rig) -> None:
    await dead_steps(rig.client, 2)
    created = await rig.client.create_batch(
        zart.RetryStep(max_attempts=5), execution_ids=["x-1", "nobody", "x-0", "x-1"]
    )
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    items = await rig.client.list_batch_items(created.batch_id)
    told = {(i.execution_id, i.step_name, i.status, i.step_status, i.run_status) for i in items}
    assert told == {
        ("x-1", "a", "DONE", "SCHEDULED", "RUNNING"),
        ("x-0", "a", "DONE", "SCHEDULED", "RUNNING"),
        ("nobody", "", "REFUSED", "UNSPECIFIED", "UNSPECIFIED"),
    }
    refused = await rig.client.list_batch_items(created.batch_id, statuses=["REFUSED"])
    assert [i.refusal and (i.refusal.reason, i.refusal.code) for i in refused] == [
        ("EXECUTION_NOT_FOUND", "NOT_FOUND")
    ]
    refusals = await rig.client.list_operations(batch_id=created.batch_id, statuses=["REFUSED"])
    assert [o.execution_id for o in refusals] == ["nobody"]
    assert [o.operation_id for o in refusals] == [i.operation_id for i in refused]
    dead = await rig.client.list_batch_items(created.batch_id, step_statuses=["DEAD"])
    assert dead == []
    done = [item for item in items if item.status == "DONE"]
    on_record = await rig.client.list_operations(batch_id=created.batch_id, kind="RETRY_STEP")
    assert {o.operation_id for o in on_record} == {i.operation_id for i in done}
    assert {(o.batch_id, o.made.max_attempts if o.made else 0) for o in on_record} == {
        (created.batch_id, 6)
    }


@pytest.mark.parametrize(
    ("operation", "graph", "outcome"),
    [
        (zart.Restart(if_running=IfRunning.SUPERSEDE), CHAIN, "scheduled"),
        (zart.Restart({"n": 2}), ONE, "scheduled"),
        (zart.Rerun(), CHAIN, "scheduled"),
        (zart.CancelExecution(), CHAIN, "cancelled"),
    ],
)
async def test_operations_on_executions(rig: Rig, operation: Any, graph: Any, outcome: str) -> None:
    is_cancel = isinstance(operation, zart.CancelExecution)
    for n in range(3):
        if is_cancel:
            await rig.start(f"x-{n}", graph)
        else:
            await rig.dead(f"x-{n}", graph, step="a")
    created = await rig.client.create_batch(operation, everything=True)
    batch = await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert (batch.counts.selected, batch.counts.done) == (3, 3)
    assert batch.outcomes is not None
    assert getattr(batch.outcomes, outcome) == 3
    assert batch.operation == operation
    await check_totals(rig.db, created.batch_id)
    state = await rig.client.get_execution("x-0")
    assert state.run.run_number == (0 if is_cancel else 1)


async def test_what_is_refused_says_why(rig: Rig) -> None:
    await start_many(rig.client, 2)
    created = await rig.client.create_batch(zart.Restart(), everything=True)
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    items = await rig.client.list_batch_items(created.batch_id)
    assert [(i.status, i.refusal and i.refusal.reason) for i in items] == [
        ("REFUSED", "RUN_ACTIVE")
    ] * 2
    refused = await rig.client.list_operations(batch_id=created.batch_id, statuses=["REFUSED"])
    assert {o.operation_id for o in refused} == {i.operation_id for i in items}
    await check_totals(rig.db, created.batch_id)


async def test_an_item_that_has_changed_is_refused(rig: Rig) -> None:
    await dead_steps(rig.client, 5)
    created = await rig.client.create_batch(zart.RetryStep(), everything=True, rate_per_second=0.01)
    await rig.client.pause_batch(created.batch_id)
    done = await rig.client.list_batch_items(created.batch_id, statuses=["DONE"])
    names = sorted({f"x-{n}" for n in range(5)} - {i.execution_id for i in done})
    await rig.client.restart(names[0])  # another run
    await rig.client.retry_step(names[1], "a")  # another attempt, dead again
    await fail_all(rig.client)
    await rig.client.retry_step(names[3], "a")  # another attempt, in flight
    assert len(await rig.lease()) == 1
    await rig.client.retry_step(names[2], "a")  # not dead any more
    await rig.client.update_batch(created.batch_id, rate_per_second=None)
    await rig.client.resume_batch(created.batch_id)
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    items = await rig.client.list_batch_items(created.batch_id, statuses=["REFUSED"])
    assert {i.execution_id: i.refusal and i.refusal.reason for i in items} == {
        names[0]: "RUN_CHANGED",
        names[1]: "STEP_CHANGED",
        names[2]: "STEP_NOT_DEAD",
        names[3]: "STEP_CHANGED",
    }
    await check_totals(rig.db, created.batch_id)


async def test_nothing_selected_is_refused(rig: Rig) -> None:
    await rig.start("x", ONE)
    selections: list[dict[str, Any]] = [
        {"everything": True},
        {"execution_ids": ["x"]},
        {"execution_ids": ["no"]},
    ]
    for selection in selections:
        for only in (False, True):
            with pytest.raises(errors.NothingSelected):
                await rig.client.create_batch(zart.RetryStep(), **selection, validate_only=only)
    assert await rig.client.list_batches() == []
    assert await rig.db.fetchval("SELECT count(*) FROM zart.batch_items") == 0


@pytest.mark.parametrize("count", [999, 1_000, 2_500])
async def test_many_ids_that_nobody_has_select_nothing(rig: Rig, count: int) -> None:
    """However many of them are looked at at a time."""
    unknown = [f"no-{n}" for n in range(count)]
    for only in (False, True):
        with pytest.raises(errors.NothingSelected):
            await rig.client.create_batch(zart.Restart(), execution_ids=unknown, validate_only=only)
    assert await rig.db.fetchval("SELECT count(*) FROM zart.batch_items") == 0
    await dead_steps(rig.client, 1)
    created = await rig.client.create_batch(zart.Restart(), execution_ids=[*unknown, "x-0"])
    batch = await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert (batch.counts.refused, batch.counts.done) == (count, 1)
    await check_totals(rig.db, created.batch_id)


async def test_two_steps_of_one_run_are_two_items(rig: Rig) -> None:
    await rig.start("x", {"a": (), "b": ()})
    await rig.work(fail=["a", "b"])
    created = await rig.client.create_batch(zart.RetryStep(), execution_ids=["x"])
    batch = await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert (batch.counts.selected, batch.counts.done) == (2, 2)
    assert await rig.statuses("x") == {"a": "SCHEDULED", "b": "SCHEDULED"}
    await check_totals(rig.db, created.batch_id)


async def test_a_pause_during_it_holds_what_it_revives(rig: Rig) -> None:
    await dead_steps(rig.client, 5)
    created = await rig.client.create_batch(zart.RetryStep(), everything=True, canary=2)
    batch = await until_batch(rig.client, created.batch_id, "PAUSED")
    assert batch.outcomes is not None
    assert batch.outcomes.scheduled == 2
    rule = await rig.client.pause(task_name="t")
    await rig.client.resume_batch(created.batch_id)
    batch = await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert batch.outcomes is not None
    assert batch.outcomes.paused == 5
    assert await rig.lease() == []
    await rig.client.resume(rule_id=rule.rule_id)
    tasks = await rig.lease(3, wait=LONG)
    assert len(tasks) > 0


async def test_gone_on_to_another_run_is_superseded(rig: Rig) -> None:
    await dead_steps(rig.client, 2)
    created = await rig.client.create_batch(zart.RetryStep(), everything=True)
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    await rig.client.restart("x-0")
    await rig.client.cancel_execution("x-1")
    batch = await rig.client.get_batch(created.batch_id)
    assert batch.outcomes is not None
    assert batch.outcomes.superseded == 2


async def test_a_locked_execution_keeps_nobody_waiting(rig: Rig) -> None:
    await dead_steps(rig.client, 5)
    lock = "SELECT FROM zart.executions WHERE execution_id = 'x-2' FOR UPDATE"
    async with rig.locked(lock):
        created = await rig.client.create_batch(zart.RetryStep(), everything=True)
        batch = await until_done(rig, created.batch_id, 4)
        assert batch.status == "RUNNING"
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    await check_totals(rig.db, created.batch_id)


async def until_done(rig: Rig, batch_id: str, count: int) -> zart.models.Batch:
    """Wait until so many items are done, and return the batch."""
    async for batch in rig.client.watch_batch(batch_id):
        if batch.counts.done >= count:
            return batch
    raise AssertionError("the watch ended before")


async def test_items_are_left_out_of_the_audit_unless_asked_for(rig: Rig) -> None:
    await dead_steps(rig.client, 60)
    await rig.client.restart("x-0", incident="INC-7")
    created = await rig.client.create_batch(zart.RetryStep(), everything=True, incident="INC-7")
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    told = await rig.client.list_operations(incident="INC-7")
    assert [o.kind for o in told] == ["CREATE_BATCH", "RESTART"]
    whole = await rig.client.list_operations(incident="INC-7", include_batch_items=True)
    assert len(whole) == 61
    assert len(await rig.client.list_operations(kind="RETRY_STEP")) == 0
    assert len(await rig.client.list_operations(execution_id="x-1", kind="RETRY_STEP")) == 1
