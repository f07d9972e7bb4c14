"""A step that was found to have happened in an earlier run is not run again by an oversight."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from batching import until_batch
from rig import Rig, specs

import zart
from zart.errors import PlanChanged, StepInDoubt
from zart.models import ExplainedStep

GRAPH = {"load": (), "charge": ("load",)}
STOP = {"if_in_doubt": zart.IfInDoubt.STOP}
HAPPENED, DID_NOT = zart.InDoubtFinding.HAPPENED, zart.InDoubtFinding.DID_NOT_HAPPEN


async def accepted(rig: Rig, execution_id: str = "x") -> None:
    """Leave a charge in doubt in run 0, and have that accepted: run 1 fails before its charge."""
    await rig.start(execution_id, GRAPH, **STOP)
    await rig.complete(await rig.lease_one("load", execution_id))
    lost = await rig.lease_one("charge", execution_id)
    await rig.report(zart.Outcome(lost.task_id, lost.lease_token, zart.Lost()))
    await rig.client.restart(execution_id, accept_in_doubt=True)
    await rig.fail(await rig.lease_one("load", execution_id))


async def found(rig: Rig, finding: zart.InDoubtFinding = HAPPENED, run_number: int = 0) -> None:
    """Find out about the first charge of x in a run."""
    await rig.client.resolve_in_doubt("x", "charge", finding, run_number=run_number, attempt=1)


@pytest.mark.parametrize("verb", ["restart", "rerun"])
async def test_what_happened_before_the_run_and_was_found_since_is_not_run_again(
    rig: Rig, verb: str
) -> None:
    await accepted(rig)
    await found(rig)
    operate: Any = getattr(rig.client, verb)
    with pytest.raises(StepInDoubt, match="found to have happened") as refused:
        await operate("x")
    assert refused.value.metadata == {
        "run_id": "x:run:0",
        "step_name": "charge",
        "attempt": "1",
        "ended_as": "LOST",
        "finding": "HAPPENED",
    }
    assert (await operate("x", accept_in_doubt=True)).new_run_number == 2
    # That was accepted: what the next run is begun with is no news to anybody.
    await rig.fail(await rig.lease_one("load"))
    assert (await operate("x")).new_run_number == 3


async def test_what_is_open_or_did_not_happen_in_an_earlier_run_keeps_nothing(rig: Rig) -> None:
    await accepted(rig)
    assert (await rig.client.restart("x")).new_run_number == 2
    await rig.fail(await rig.lease_one("load"))
    await found(rig, DID_NOT)
    assert (await rig.client.rerun("x")).new_run_number == 3


async def test_what_is_completed_in_the_run_at_hand_is_as_good_as_any(rig: Rig) -> None:
    await accepted(rig)
    await rig.client.rerun("x")
    await rig.work()
    await found(rig)
    assert (await rig.client.rerun("x", force_rerun=["charge"])).new_run_number == 3


async def refused_once_it_is_found(rig: Rig) -> ExplainedStep:
    """Find out of run 0, which refuses a retry, planned before or not; return why it is dead."""
    plan = await rig.client.retry_step("x", "charge", accept_in_doubt=True, validate_only=True)
    await found(rig)
    with pytest.raises(PlanChanged) as refused:
        await rig.client.retry_step("x", "charge", accept_in_doubt=True, plan_token=plan.plan_token)
    assert refused.value.metadata["changed"] == "in_doubt"
    with pytest.raises(StepInDoubt, match="x:run:0 was found to have happened"):
        await rig.client.retry_step("x", "charge")
    (explained,) = (await rig.client.explain_step("x", "charge")).steps
    return explained


async def test_a_dead_step_is_not_retried_that_has_happened_before(rig: Rig) -> None:
    await accepted(rig)
    await rig.client.rerun("x")
    await rig.work(fail=["charge"])
    dead = await refused_once_it_is_found(rig)
    assert dead.causes[0].text.endswith("; attempt 1 of run 0 was found to have happened")
    assert dead.next.startswith("It has happened: complete it by hand")
    done = await rig.client.retry_step("x", "charge", accept_in_doubt=True)
    assert done.step.status == "SCHEDULED"


async def test_another_one_that_is_found_is_news_to_a_plan_whatever_else_is_open(rig: Rig) -> None:
    await accepted(rig)
    await rig.client.rerun("x")
    await rig.complete(await rig.lease_one("load"))
    lost = await rig.lease_one("charge")
    await rig.report(zart.Outcome(lost.task_id, lost.lease_token, zart.Lost()))
    dead = await refused_once_it_is_found(rig)
    assert "attempt 1 of run 0 was found to have happened" in dead.causes[0].text


async def test_steps_are_the_same_by_name_in_another_version(rig: Rig) -> None:
    rig.registers = True
    await rig.start("x", GRAPH, **STOP)
    await rig.complete(await rig.lease_one("load"))
    lost = await rig.lease_one("charge")
    await rig.report(zart.Outcome(lost.task_id, lost.lease_token, zart.Lost()))
    other = {"first": (), "second": (), "charge": ("first", "second")}
    await rig.client.register_task("t", specs(other, **STOP))
    await rig.client.restart("x", accept_in_doubt=True)
    await rig.client.cancel_execution("x")
    await found(rig)
    with pytest.raises(StepInDoubt, match="step 'charge' of x:run:0"):
        await rig.client.restart("x")
    (explained,) = (await rig.client.explain_step("x", "charge")).steps
    assert "A step of it has happened, charge" in explained.next


@pytest.mark.parametrize("verb", ["restart", "rerun"])
async def test_a_plan_is_refused_once_it_was_found(rig: Rig, verb: str) -> None:
    await accepted(rig)
    operate: Any = getattr(rig.client, verb)
    plan = await operate("x", accept_in_doubt=True, validate_only=True)
    await found(rig)
    with pytest.raises(PlanChanged) as refused:
        await operate("x", accept_in_doubt=True, plan_token=plan.plan_token)
    assert refused.value.metadata["changed"] == "in_doubt"


@pytest.mark.parametrize("operation", [zart.Restart(), zart.Rerun()], ids=["restart", "rerun"])
async def test_the_plan_of_a_batch_tells_and_its_items_are_refused(
    rig: Rig, operation: Any
) -> None:
    for name in ("x", "y"):
        await accepted(rig, name)
    await found(rig)
    chosen = zart.ExecutionFilter(statuses=["FAILED"])
    plan = await rig.client.create_batch(operation, filter=chosen, validate_only=True)
    assert plan.plan is not None
    told = {kind.refused_for: kind.items for kind in plan.plan.kinds}
    assert told == {"STEP_IN_DOUBT": 1, "": 1}
    created = await rig.client.create_batch(operation, filter=chosen, plan_token=plan.plan_token)
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    items = await rig.client.list_batch_items(created.batch_id)
    refused = {i.execution_id: i.refusal and i.refusal.reason for i in items}
    assert refused == {"x": "STEP_IN_DOUBT", "y": None}


async def test_a_batch_that_accepts_is_refused_what_was_found_since(rig: Rig) -> None:
    for name in ("x", "y"):
        await accepted(rig, name)
    chosen = zart.ExecutionFilter(statuses=["FAILED"])
    operation = zart.Restart(accept_in_doubt=True)
    plan = await rig.client.create_batch(operation, filter=chosen, validate_only=True)
    await found(rig)
    created = await rig.client.create_batch(operation, filter=chosen, plan_token=plan.plan_token)
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    items = await rig.client.list_batch_items(created.batch_id)
    refused = {i.execution_id: i.refusal and i.refusal.reason for i in items}
    assert refused == {"x": "STEP_IN_DOUBT", "y": None}


async def test_who_finds_it_out_meanwhile_is_waited_for(rig: Rig) -> None:
    """Else the next run would be created after the finding, as if that had been accepted."""
    await accepted(rig)
    async with rig.locked("SELECT FROM zart.in_doubt FOR UPDATE"):
        finding = asyncio.create_task(found(rig))
        await rig.until_waiting(at_length=True)
        restart = asyncio.create_task(rig.client.restart("x"))
        await rig.until_waiting(2)
    await finding
    with pytest.raises(StepInDoubt):
        await restart


async def test_a_step_that_is_named_is_found_by_its_name_in_another_version(rig: Rig) -> None:
    rig.registers = True
    await rig.start("x", GRAPH, **STOP)
    await rig.complete(await rig.lease_one("load"))
    lost = await rig.lease_one("charge")
    await rig.report(zart.Outcome(lost.task_id, lost.lease_token, zart.Lost()))
    other = {"charge": (), "new": (), "load": ()}
    await rig.client.register_task("t", specs(other, **STOP))
    await rig.client.restart("x", accept_in_doubt=True)
    await rig.work(fail=["charge", "new", "load"])
    await found(rig)
    with pytest.raises(StepInDoubt, match="step 'charge' of x:run:0"):
        await rig.client.retry_step("x", "charge")
    (explained,) = (await rig.client.explain_step("x", "charge")).steps
    assert explained.next.startswith("It has happened")
    # What has its number there, or none, has not happened.
    for step in ("new", "load"):
        (explained,) = (await rig.client.explain_step("x", step)).steps
        assert explained.next.startswith("Retry it")
        await rig.client.retry_step("x", step)
