"""Plans of what changes rules that stand: applied, the same rules are changed, or none."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from engine.test_plans import changed
from rig import CHAIN, Rig
from stored import everything

from zart import errors


async def kept(rig: Rig) -> list[list[str]]:
    """Return what is kept of rules: not what sweeps move meanwhile."""
    tables = await everything(rig.db, but="operation_attempts")
    return [tables[name] for name in ("pause_rules", "pause_exemptions", "operations")]


async def test_a_plan_of_a_resume_is_what_it_answers_and_changes_nothing(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.start("y", CHAIN)
    first = await rig.client.pause(task_name="t", reason="maintenance")
    await rig.client.pause(execution_id="y")
    await rig.client.get_pause_rule(first.rule_id)
    plan = await rig.client.resume(task_name="t", validate_only=True, request_id="r")

    assert plan.planned
    assert [rule.status for rule in plan.rules] == ["ACTIVE"]
    assert (plan.rules_deleted, plan.released_steps, plan.still_paused_steps) == (1, 1, 1)
    assert await rig.lease(wait=0) == []

    done = await rig.client.resume(task_name="t", plan_token=plan.plan_token, request_id="r")
    assert (done.planned, done.plan_token, done.replayed) == (False, "", False)
    assert (done.rules_deleted, done.released_steps, done.still_paused_steps) == (1, 1, 1)
    again = rig.client.resume(task_name="t", plan_token=plan.plan_token)
    assert await changed(again) == "rules, statuses, exemptions"
    repeated = await rig.client.resume(task_name="t", plan_token=plan.plan_token, request_id="r")
    assert repeated.replayed


async def test_of_other_rules_or_exemptions(rig: Rig) -> None:
    rule = (await rig.client.pause(task_name="t")).rule_id
    by_id = await rig.client.resume(rule_id=rule, validate_only=True)
    by_scope = await rig.client.resume(task_name="t", validate_only=True)
    every = await rig.client.resume(everything=True, validate_only=True)
    await rig.client.update_pause_rule(rule, exempt=["x"])
    assert await changed(rig.client.resume(rule_id=rule, plan_token=by_id.plan_token)) == (
        "exemptions"
    )
    await rig.client.update_pause_rule(rule, unexempt=["x"])
    await rig.client.pause(task_name="t", step_pattern="b")

    for call in (
        rig.client.resume(task_name="t", plan_token=by_scope.plan_token),
        rig.client.resume(everything=True, plan_token=every.plan_token),
    ):
        assert await changed(call) == "rules, statuses, exemptions"
    done = await rig.client.resume(rule_id=rule, plan_token=by_id.plan_token)
    assert done.rules_deleted == 1
    assert await changed(rig.client.resume(task_name="u", plan_token=every.plan_token)) == "request"
    with pytest.raises(errors.PauseRuleNotFound):
        await rig.client.resume(rule_id="pr-nothere", validate_only=True)
    over = await rig.client.resume(rule_id=rule, validate_only=True)
    assert (over.rules_deleted, len(over.rules)) == (0, 1)


@pytest.mark.parametrize("pace", [{"canary": 1}, {"rate_per_second": 1.0}])
async def test_a_plan_of_a_pace_whose_rule_has_ended_or_is_no_longer_the_only_one(
    rig: Rig, pace: dict[str, Any]
) -> None:
    rule = (await rig.client.pause(task_name="t")).rule_id
    await rig.start("x", CHAIN)
    by_id = await rig.client.resume(rule_id=rule, **pace, validate_only=True)
    by_scope = await rig.client.resume(task_name="t", **pace, validate_only=True)

    async def changed_by_scope() -> str:
        token = by_scope.plan_token
        return await changed(rig.client.resume(task_name="t", **pace, plan_token=token))

    second = (await rig.client.pause(task_name="t", step_pattern="b")).rule_id
    assert await changed_by_scope() == "rules, statuses, exemptions"
    for ended in (second, rule):
        await rig.client.resume(rule_id=ended)
    assert await changed_by_scope() == "rules, statuses, exemptions"
    for asked, names in ((pace, "statuses"), ({"canary": 2}, "request")):
        again = rig.client.resume(rule_id=rule, **asked, plan_token=by_id.plan_token)
        assert await changed(again) == names
    with pytest.raises(errors.RuleNotActive):
        await rig.client.resume(rule_id=rule, **pace)


async def test_a_plan_of_an_exemption(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    rule = (await rig.client.pause(task_name="t")).rule_id
    asked: dict[str, Any] = {"exempt": ["x", "nobody"], "expires_in": timedelta(hours=1)}
    before = await kept(rig)
    plan = await rig.client.update_pause_rule(rule, **asked, validate_only=True)

    assert await kept(rig) == before
    assert plan.planned
    assert (plan.released_steps, plan.withheld_again_steps) == (1, 0)
    assert plan.rule.exempt_execution_ids == ("nobody", "x")
    assert plan.rule.expires_at is not None
    assert [warning.field for warning in plan.warnings] == ["add_exempt_execution_ids[1]"]
    done = await rig.client.update_pause_rule(rule, **asked, plan_token=plan.plan_token)
    assert (done.released_steps, done.warnings) == (1, plan.warnings)
    assert done.rule.exempt_execution_ids == plan.rule.exempt_execution_ids

    again = rig.client.update_pause_rule(rule, **asked, plan_token=plan.plan_token)
    assert await changed(again) == "exemptions"
    await rig.client.resume(rule_id=rule)
    again = rig.client.update_pause_rule(rule, **asked, plan_token=plan.plan_token)
    assert await changed(again) == "statuses, exemptions"
    with pytest.raises(errors.RuleNotActive):
        await rig.client.update_pause_rule(rule, exempt=["x"], validate_only=True)


async def test_their_plans_do_not_wait_for_the_pause_lock(rig: Rig) -> None:
    rule = (await rig.client.pause(task_name="t")).rule_id
    async with rig.locked("SELECT pg_advisory_xact_lock($1)", 0x7A61_7274_0002):
        pausing = asyncio.create_task(rig.client.pause(task_name="u"))
        await rig.until_waiting()
        assert (await rig.client.resume(everything=True, validate_only=True)).planned
        plan = await rig.client.update_pause_rule(rule, exempt=["x"], validate_only=True)
        assert plan.planned
    await pausing
