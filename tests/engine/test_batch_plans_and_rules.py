"""Plans of batches by what is paused: rules that change meanwhile give a batch nothing more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from batching import until_batch
from breaking import ONE, breaker
from releasing import hold_the_pace, settled, until_released
from rig import Rig

import zart

Change = Callable[[Rig, str], Awaitable[object]]
_CANCEL = zart.CancelExecution()


async def planned_and_done(
    rig: Rig, wanted: zart.ExecutionFilter, change: Change, rule: str
) -> set[str]:
    """Plan a batch, change rules, apply the plan; return the executions that it took."""
    plan = await rig.client.create_batch(_CANCEL, filter=wanted, validate_only=True)
    await change(rig, rule)
    await settled(rig)
    done = await rig.client.create_batch(_CANCEL, filter=wanted, plan_token=plan.plan_token)
    await until_batch(rig.client, done.batch_id, "COMPLETED")
    return {item.execution_id for item in await rig.client.list_batch_items(done.batch_id)}


async def pause_all(rig: Rig, _rule: str) -> None:
    await rig.client.pause(task_name="t")


async def unexempt(rig: Rig, rule: str) -> None:
    await rig.client.update_pause_rule(rule, unexempt=["y"])


async def exempt(rig: Rig, rule: str) -> None:
    await rig.client.update_pause_rule(rule, exempt=["y"])


async def stop(rig: Rig, rule: str) -> None:
    await rig.client.stop_release(rule)


async def resume(rig: Rig, rule: str) -> None:
    await rig.client.resume(rule_id=rule)


async def resume_among_many(rig: Rig, rule: str) -> None:
    await resume(rig, rule)
    await rig.db.execute(
        """
        INSERT INTO zart.pause_rules (rule_id, execution_id, everything, reason, created_by,
            created_at, deleted_at)
        SELECT 'pr-' || n, 'x-' || n, false, '', '', now(), now() FROM generate_series(1, 5001) n
        """
    )


async def canary(rig: Rig, rule: str) -> None:
    await rig.client.resume(rule_id=rule, canary=1)
    await until_released(rig, 1)


@pytest.mark.parametrize("change", [pause_all, unexempt])
async def test_what_is_paused_only_since_is_not_taken(rig: Rig, change: Change) -> None:
    rule = (await rig.client.pause(task_name="t", step_pattern="charge")).rule.rule_id
    for name in ("x", "y"):
        await rig.start(name, ONE)
    await rig.client.update_pause_rule(rule, exempt=["y"])
    await settled(rig)
    wanted = zart.ExecutionFilter(task_name="t", step_statuses=["PAUSED"])
    assert await planned_and_done(rig, wanted, change, rule) == {"x"}


@pytest.mark.parametrize("by_rule", [True, False])
async def test_what_was_let_go_then_and_is_taken_back_since_is_not_taken(
    rig: Rig, *, by_rule: bool
) -> None:
    rule = (await rig.client.pause(task_name="t")).rule.rule_id
    for name in ("y", "x"):
        await rig.start(name, ONE)
    await settled(rig)
    await rig.client.resume(rule_id=rule, rate_per_second=0.01)
    await until_released(rig, 1)
    await hold_the_pace(rig)
    wanted = zart.ExecutionFilter(task_name="t", step_statuses=["PAUSED"])
    if by_rule:
        wanted = zart.ExecutionFilter(rule_id=rule)
    assert await planned_and_done(rig, wanted, stop, rule) == {"x"}


@pytest.mark.parametrize("change", [resume, resume_among_many, exempt, canary])
async def test_what_is_scheduled_only_since_is_not_taken(rig: Rig, change: Change) -> None:
    rule = (await rig.client.pause(execution_id="y")).rule.rule_id
    for name in ("x", "y"):
        await rig.start(name, ONE)
    await settled(rig)
    wanted = zart.ExecutionFilter(task_name="t", step_statuses=["SCHEDULED"])
    assert await planned_and_done(rig, wanted, change, rule) == {"x"}


async def test_what_is_ready_is_taken_whatever_rules_do_with_it_meanwhile(rig: Rig) -> None:
    breaker_id = await breaker(rig.client)
    rule = (await rig.client.trip_breaker(breaker_id)).breaker.rule_id
    for name in ("x", "y"):
        await rig.start(name, ONE)
    wanted = zart.ExecutionFilter(task_name="t", step_statuses=["SCHEDULED", "PAUSED"])
    assert await planned_and_done(rig, wanted, canary, rule) == {"x", "y"}
