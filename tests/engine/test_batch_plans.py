"""Plans of batches: what they say would be done and refused, and what is taken by their token."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from batching import dead_steps, fail_all, until_batch
from rig import Rig

import zart
from zart import errors
from zart.models import IfRunning
from zart_server.store.pausing.rules import SEIZE_PAUSE_LOCK

STOP = {"if_in_doubt": zart.IfInDoubt.STOP}


async def test_a_plan_takes_what_matched_then(rig: Rig) -> None:
    await dead_steps(rig.client, 5)
    await rig.start("alive", {"a": ()})
    plan = await rig.client.create_batch(zart.RetryStep(), everything=True, validate_only=True)
    assert plan.planned
    assert plan.batch is None
    assert plan.plan is not None
    assert (plan.plan.executions, plan.plan.items) == (5, 5)
    assert [(kind.refused_for, kind.items) for kind in plan.plan.kinds] == [("", 5)]
    assert await rig.client.list_batches() == []

    await rig.client.retry_step("x-0", "a")  # it matches no more
    await fail_all(rig.client)  # x-0 and `alive` are dead only now
    with pytest.raises(errors.PlanChanged):
        await rig.client.create_batch(
            zart.RetryStep(max_attempts=2), everything=True, plan_token=plan.plan_token
        )
    created = await rig.client.create_batch(
        zart.RetryStep(), everything=True, plan_token=plan.plan_token
    )
    batch = await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert (batch.counts.selected, batch.as_of) == (4, plan.plan.as_of)
    items = await rig.client.list_batch_items(created.batch_id)
    assert {item.execution_id for item in items} == {f"x-{n}" for n in range(1, 5)}


async def test_a_plan_says_what_would_be_refused(rig: Rig) -> None:
    await dead_steps(rig.client, 3)
    await rig.start("alive", {"a": ()})
    for operation, kinds in (
        (zart.Restart(), [("", 3), ("RUN_ACTIVE", 1), ("EXECUTION_NOT_FOUND", 1)]),
        (zart.CancelExecution(), [("RUN_FINISHED", 3), ("", 1), ("EXECUTION_NOT_FOUND", 1)]),
        (zart.Rerun(preserve=["z"]), [("INVALID_FIELD", 4), ("EXECUTION_NOT_FOUND", 1)]),
    ):
        plan = await rig.client.create_batch(
            operation, execution_ids=["x-0", "x-1", "x-2", "alive", "no"], validate_only=True
        )
        assert plan.plan is not None
        assert [(kind.refused_for, kind.items) for kind in plan.plan.kinds] == kinds
        assert plan.plan.kinds[-1].sample_execution_ids


async def test_what_is_in_another_state_since_the_plan_is_not_taken(rig: Rig) -> None:
    for name in ("revived", "stands"):
        await rig.start(name, {"a": ()})
    await rig.lease_one("a", "stands")
    await rig.fail(await rig.lease_one("a", "revived"))
    await rig.start("began", {"a": ()})
    wanted = zart.ExecutionFilter(task_name="t", statuses=["RUNNING"])
    operation = zart.CancelExecution()
    plan = await rig.client.create_batch(operation, filter=wanted, validate_only=True)
    await rig.client.retry_step("revived", "a")
    await rig.lease_one("a", "began")
    listed = [one.execution_id for one in await rig.client.list_executions(wanted)]
    assert listed == ["began", "stands", "revived"]
    created = await rig.client.create_batch(operation, filter=wanted, plan_token=plan.plan_token)
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    items = await rig.client.list_batch_items(created.batch_id)
    assert [item.execution_id for item in items] == ["stands"]
    assert await outcome(rig, operation, statuses=["RUNNING"]) == [("", 2)]


@pytest.mark.parametrize("statuses", [[], ["RUNNING", "FAILED"]])
@pytest.mark.parametrize("state", ["PENDING", "COMPLETED"])
async def test_steps_of_what_was_failed_at_the_plan_are_not_taken(
    rig: Rig, state: str, statuses: list[str]
) -> None:
    """No filter has the PENDING or COMPLETED steps of a run that is FAILED."""
    graph = {"a": (), "b": (), "c": ("b",), "d": ("c",)}
    for name in ("retried", "completed"):
        await rig.start(name, graph)
    await rig.work(fail=["b"])
    await rig.start("stands", graph)
    await rig.complete(*(task for task in await rig.lease() if task.step_name == "a"))
    wanted = zart.ExecutionFilter(task_name="t", statuses=statuses, step_statuses=[state])
    operation = zart.CancelExecution()
    plan = await rig.client.create_batch(operation, filter=wanted, validate_only=True)
    assert plan.plan is not None
    assert plan.plan.items == 1
    await rig.client.retry_step("retried", "b")
    await rig.client.complete_step("completed", "b", "by hand")
    listed = {one.execution_id for one in await rig.client.list_executions(wanted)}
    assert listed == {"retried", "completed", "stands"}
    created = await rig.client.create_batch(operation, filter=wanted, plan_token=plan.plan_token)
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    items = await rig.client.list_batch_items(created.batch_id)
    assert [item.execution_id for item in items] == ["stands"]


async def test_a_step_that_is_pending_again_since_the_plan_is_not_taken(rig: Rig) -> None:
    await rig.start("x", {"a": (), "b": ("a",), "c": ("a",)})
    await rig.lease_one("a")
    await rig.client.fail_step("x", "b", "by hand")
    wanted = zart.ExecutionFilter(task_name="t", step_statuses=["PENDING"])
    operation = zart.CompleteStep(1)
    plan = await rig.client.create_batch(operation, filter=wanted, validate_only=True)
    await rig.client.retry_step("x", "b")
    assert await rig.statuses() == {"a": "RUNNING", "b": "PENDING", "c": "PENDING"}
    created = await rig.client.create_batch(operation, filter=wanted, plan_token=plan.plan_token)
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    items = await rig.client.list_batch_items(created.batch_id)
    assert [item.step_name for item in items] == ["c"]


@pytest.mark.parametrize(
    "wanted",
    [{"statuses": ["RUNNING"]}, {"step_statuses": ["PENDING"]}, {"step_statuses": ["SCHEDULED"]}],
)
async def test_what_was_about_to_be_retried_at_the_plan_is_not_taken(
    rig: Rig, wanted: dict[str, Any]
) -> None:
    """It waited for the pause lock, as behind a Pause: so it began before the plan."""
    graph = {"a": (), "b": ("a",), "c": ()}
    await rig.start("retried", graph)
    await rig.work(fail=["a"])
    await rig.start("stands", graph)
    await rig.complete(await rig.lease_one("c", "stands"))
    operation, selected = zart.CancelExecution(), zart.ExecutionFilter(task_name="t", **wanted)
    async with rig.locked(SEIZE_PAUSE_LOCK):
        retrying = asyncio.create_task(rig.client.retry_step("retried", "a"))
        await rig.until_waiting(at_length=True)
        plan = await rig.client.create_batch(operation, filter=selected, validate_only=True)
    await retrying
    assert len(await rig.client.list_executions(selected)) == 2
    created = await rig.client.create_batch(operation, filter=selected, plan_token=plan.plan_token)
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    items = await rig.client.list_batch_items(created.batch_id)
    assert [item.execution_id for item in items] == ["stands"]


@pytest.mark.parametrize("operation", [zart.Restart(), zart.RetryStep()])
async def test_what_is_named_and_has_gone_on_since_is_refused_not_left_out(
    rig: Rig, operation: Any
) -> None:
    await dead_steps(rig.client, 2)
    names = ["x-0", "x-1", "younger"]
    plan = await rig.client.create_batch(operation, execution_ids=names, validate_only=True)
    await rig.client.restart("x-0")
    await rig.start("younger", {"a": ()})
    created = await rig.client.create_batch(
        operation, execution_ids=names, plan_token=plan.plan_token
    )
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    items = await rig.client.list_batch_items(created.batch_id)
    assert {item.execution_id: item.refusal and item.refusal.reason for item in items} == {
        "x-0": "RUN_CHANGED",
        "x-1": None,
        "younger": "EXECUTION_NOT_FOUND",
    }
    (why,) = (item.refusal for item in items if item.execution_id == "younger")
    younger = await rig.client.get_execution("younger")
    assert why is not None
    assert datetime.fromisoformat(why.metadata["began_at"]) == younger.execution.created_at
    assert why.message.endswith("after the batch was planned or created")
    assert younger.run.run_number == 0


async def kinds(rig: Rig, operation: Any, **conditions: Any) -> list[tuple[str, int]]:
    """Return what a plan says would become of the steps or executions that a filter matches."""
    wanted = zart.ExecutionFilter(**conditions)
    answer = await rig.client.create_batch(operation, filter=wanted, validate_only=True)
    assert answer.plan is not None
    assert answer.plan.items == sum(kind.items for kind in answer.plan.kinds)
    return [(kind.refused_for, kind.items) for kind in answer.plan.kinds]


async def outcome(rig: Rig, operation: Any, **conditions: Any) -> list[tuple[str, int]]:
    """Return the same of what became of them."""
    created = await rig.client.create_batch(operation, filter=zart.ExecutionFilter(**conditions))
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    items = await rig.client.list_batch_items(created.batch_id)
    found = Counter("" if i.refusal is None else i.refusal.reason for i in items)
    return found.most_common()


async def test_a_plan_of_steps_says_what_would_be_refused(rig: Rig) -> None:
    await rig.start("x", {"a": (), "b": (), "c": (), "d": ("c",)})
    tasks = {task.step_name: task for task in await rig.lease()}
    await rig.fail(tasks["a"])
    await rig.complete(tasks["b"])  # c is RUNNING, d PENDING
    wanted: tuple[tuple[Any, list[str], list[tuple[str, int]]], ...] = (
        (zart.FailStep("no"), ["DEAD"], [("STEP_FINISHED", 1)]),
        (zart.FailStep("no"), ["COMPLETED"], [("STEP_FINISHED", 1)]),
        (zart.CompleteStep(1), ["RUNNING"], [("STEP_RUNNING", 1)]),
        (zart.RetryStep(), ["PENDING", "RUNNING"], [("STEP_NOT_DEAD", 2)]),
    )
    for operation, states, told in wanted:
        assert await kinds(rig, operation, step_statuses=states) == told
        assert await outcome(rig, operation, step_statuses=states) == told
    fence = zart.CompleteStep(1, fence=True)
    for states in (["RUNNING", "DEAD"], ["SCHEDULED"]):  # d is ready then
        told = [("", len(states))]
        assert await kinds(rig, fence, step_statuses=states) == told
        assert await outcome(rig, fence, step_statuses=states) == told


async def test_a_plan_says_what_is_in_doubt(rig: Rig) -> None:
    for name in ("x", "y", "z"):
        await rig.start(name, {"a": (), "b": ()}, **STOP)
    for task in await rig.lease():
        if task.step_name == "b":
            await rig.complete(task)
        elif task.execution_id == "z":
            await rig.fail(task)
        else:
            await rig.report(zart.Outcome(task.task_id, task.lease_token, zart.Lost()))
    found = "happened"
    await rig.client.resolve_in_doubt("y", "a", found, run_number=0, attempt=1)
    refused = [("STEP_IN_DOUBT", 2), ("", 1)]
    dead = {"step_statuses": ["DEAD"]}
    for operation in (zart.RetryStep(), zart.Restart(if_running=IfRunning.FAIL), zart.Rerun()):
        assert await kinds(rig, operation, **dead) == refused
        accepted = replace(operation, accept_in_doubt=True)
        assert await kinds(rig, accepted, **dead) == [("", 3)]
    by_hand = zart.FailStep("no")
    told = [("STEP_FINISHED", 2), ("", 1)]  # only what is in doubt now
    assert await kinds(rig, by_hand, **dead) == told
    assert await outcome(rig, by_hand, **dead) == told
    assert await outcome(rig, zart.RetryStep(), step_pattern="a") == [("", 2), ("STEP_IN_DOUBT", 1)]


async def test_a_plan_counts_what_would_be_in_doubt_by_it(rig: Rig) -> None:
    """An attempt in flight may have had its effect, if its run is ended."""
    for name in ("x", "y", "z", "v"):
        await rig.start(name, {"a": (), "b": ("a",)}, **STOP)
    await rig.start("w", {"a": (), "b": ()}, if_in_doubt=zart.IfInDoubt.RETRY)
    for task in await rig.lease():
        if task.execution_id == "y":
            await rig.complete(task)  # b waits
    unfinished = {"statuses": ["RUNNING"]}
    told = [("STEP_IN_DOUBT", 3), ("", 2)]
    for operation in (
        zart.Restart(if_running=IfRunning.SUPERSEDE),
        zart.Rerun(if_running=IfRunning.SUPERSEDE),
    ):
        assert await kinds(rig, operation, **unfinished) == told
        accepted = replace(operation, accept_in_doubt=True)
        assert await kinds(rig, accepted, **unfinished) == [("", 5)]
        refusing = replace(operation, if_running=IfRunning.FAIL)
        assert await kinds(rig, refusing, **unfinished) == [("RUN_ACTIVE", 5)]
    assert await kinds(rig, zart.CancelExecution(), **unfinished) == [("", 5)]
    operation = zart.Restart(if_running=IfRunning.SUPERSEDE)
    assert await outcome(rig, operation, **unfinished) == told


@pytest.mark.parametrize("is_plan", [False, True])
async def test_a_step_cannot_be_both_run_again_and_kept(rig: Rig, is_plan: bool) -> None:  # noqa: FBT001 - parametrized
    await dead_steps(rig.client, 1)
    operation = zart.Rerun(force_rerun=["a", "b"], preserve=["c", "b"])
    with pytest.raises(errors.InvalidField) as refused:
        await rig.client.create_batch(operation, everything=True, validate_only=is_plan)
    assert refused.value.metadata["field"] == "operation.rerun.preserve[1]"
