"""A plan of a Pause tells what it would withhold; applied, the same is paused or nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from engine.test_plans import changed
from rig import CHAIN, DIAMOND, Rig
from stored import everything

import zart
from zart import errors
from zart_server.domain.model import PauseScope
from zart_server.engine.operations.plan_pause import count_to_run
from zart_server.store.db import Database


async def fleet(rig: Rig) -> None:
    """Start three executions, one of which has passed b, and one of another task; finish one."""
    for number in range(3):
        await rig.start(f"x-{number}", CHAIN)
    (first, *_) = await rig.lease(lease_duration=3600)
    await rig.complete(first)
    await rig.complete(await rig.lease_one("b", first.execution_id))
    await rig.start("other", CHAIN, task="u")
    await rig.start("done", {"b": ()})
    await rig.complete(await rig.lease_one("b", "done"))


async def test_the_blast_radius(rig: Rig) -> None:
    begun = datetime.now(UTC) - timedelta(seconds=1)
    await fleet(rig)
    before = await everything(rig.db, but="operation_attempts")
    plan = await rig.client.pause(task_name="t", step_pattern="[bc]", validate_only=True)

    assert await everything(rig.db, but="operation_attempts") == before
    assert (plan.planned, plan.rule.rule_id) == (True, "")
    assert (plan.rule.task_name, plan.rule.step_pattern) == ("t", "[bc]")
    assert (plan.paused_steps, plan.running_steps) == (1, 0)  # c of the one that has passed b
    assert (plan.executions, plan.executions_is_lower_bound) == (3, False)
    assert set(plan.sample_execution_ids) == {"x-0", "x-1", "x-2"}
    assert plan.oldest_ready_at is not None
    assert begun < plan.oldest_ready_at < datetime.now(UTC) + timedelta(seconds=1)

    passed = await rig.client.pause(task_name="t", step_pattern="b", validate_only=True)
    assert (passed.paused_steps, passed.executions, passed.oldest_ready_at) == (0, 2, None)
    running = await rig.client.pause(step_pattern="a", validate_only=True)
    assert (running.paused_steps, running.running_steps, running.executions) == (1, 2, 3)
    every = await rig.client.pause(everything=True, validate_only=True)
    assert (every.paused_steps, every.running_steps, every.executions) == (2, 2, 4)


async def test_the_blast_radius_of_one_execution(rig: Rig) -> None:
    await rig.start("x", DIAMOND)
    await rig.complete(await rig.lease_one("a"))
    await rig.lease_one("b")
    plan = await rig.client.pause(execution_id="x", validate_only=True)
    assert (plan.paused_steps, plan.running_steps, plan.executions) == (1, 1, 1)
    assert plan.sample_execution_ids == ("x",)
    assert plan.oldest_ready_at is not None
    over = await rig.client.pause(execution_id="x", step_pattern="a", validate_only=True)
    assert (over.paused_steps, over.running_steps, over.executions) == (0, 0, 0)
    elsewhere = await rig.client.pause(execution_id="x", task_name="u", validate_only=True)
    assert (elsewhere.executions, elsewhere.warnings[0].field) == (0, "task_name")


async def test_counting_takes_no_longer_than_it_may(rig: Rig, zart_database: str) -> None:
    for number in range(7):
        await rig.start(f"x-{number}", CHAIN)
    db = await Database.open(zart_database)
    scope = PauseScope(task_name="t")
    try:
        async with db.autocommit() as connection:
            whole = await count_to_run(connection, scope, seconds=60, page=3)
            cut = await count_to_run(connection, scope, seconds=0, page=3)
    finally:
        await db.close()
    assert (whole[:2], len(whole[2])) == ((7, False), 5)
    assert (cut[:2], len(cut[2])) == ((3, True), 3)


async def test_it_is_applied_as_planned_or_not_at_all(rig: Rig) -> None:
    rig.registers = True
    await rig.start("x", CHAIN)
    asked: dict[str, Any] = {"task_name": "t", "step_pattern": "b*", "expires_in": 3600}
    plan = await rig.client.pause(**asked, validate_only=True, request_id="r")
    await rig.work()  # what moves by itself is not bound
    done = await rig.client.pause(**asked, plan_token=plan.plan_token, request_id="r")
    assert (done.planned, done.replayed, done.plan_token) == (False, False, "")
    assert done.rule_id.startswith("pr-")

    again = rig.client.pause(**asked, plan_token=plan.plan_token)
    assert await changed(again) == "equal_rules"
    repeated = await rig.client.pause(**asked, plan_token=plan.plan_token, request_id="r")
    assert (repeated.replayed, repeated.rule_id) == (True, done.rule_id)

    second = await rig.client.pause(**asked, validate_only=True)
    await rig.client.register_task("t", [zart.StepSpec("b"), zart.StepSpec("b2")])
    applied = rig.client.pause(**asked, plan_token=second.plan_token)
    assert await changed(applied) == "matching_steps"
    wider = rig.client.pause(task_name="t", plan_token=second.plan_token)
    assert await changed(wider) == "request"
    assert len(await rig.client.list_pause_rules()) == 1


async def test_a_plan_does_not_wait_for_the_pause_lock(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    lock = "SELECT pg_advisory_xact_lock($1)"
    async with rig.locked(lock, 0x7A61_7274_0002):
        pausing = asyncio.create_task(rig.client.pause(task_name="t"))
        await rig.until_waiting()
        plan = await rig.client.pause(task_name="t", validate_only=True)
        assert plan.planned
        assert not pausing.done()
    await pausing


async def test_a_plan_is_refused_as_the_deed_is(rig: Rig) -> None:
    with pytest.raises(errors.InvalidField):
        await rig.client.pause(
            everything=True, expires_at=datetime(2020, 1, 1, tzinfo=UTC), validate_only=True
        )
