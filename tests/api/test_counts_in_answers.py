"""Whatever answers with a rule that stands tells what it withholds, in a plan and in the deed."""

from __future__ import annotations

from typing import Any

from releasing import paused, settled
from rig import Rig

from zart.models import PauseRule, Resumed

ONE = {"a": ()}


def told(rule: PauseRule) -> tuple[str, int, int]:
    return rule.status, rule.paused_steps, rule.running_steps


async def one_in_flight_of(rig: Rig, count: int) -> None:
    for n in range(count):
        await rig.start(f"x{n}", ONE)
    assert len(await rig.lease(1, lease_duration=3600)) == 1


async def planned_and_done(rig: Rig, **resume: Any) -> tuple[Resumed, Resumed]:
    plan = await rig.client.resume(**resume, validate_only=True)
    return plan, await rig.client.resume(**resume, plan_token=plan.plan_token)


async def test_of_a_pause_and_of_all_that_lets_its_steps_go(rig: Rig) -> None:
    await one_in_flight_of(rig, 6)
    would = await rig.client.pause(task_name="t", validate_only=True)
    assert told(would.rule) == ("ACTIVE", 5, 1)
    rule_id = await paused(rig)

    plan, done = await planned_and_done(rig, rule_id=rule_id, canary=2)
    assert told(plan.rules[0]) == ("ACTIVE", 5, 1)  # as it is now
    assert told(done.rules[0]) == ("ACTIVE", 3, 1)
    assert told(await rig.client.get_pause_rule(rule_id)) == ("ACTIVE", 3, 1)
    plan, done = await planned_and_done(rig, rule_id=rule_id, rate_per_second=0.01)
    assert told(plan.rules[0]) == ("ACTIVE", 3, 1)
    assert told(done.rules[0]) == ("RELEASING", 3, 1)

    stopped = await rig.client.stop_release(rule_id)
    now = await rig.client.get_pause_rule(rule_id)
    assert told(stopped) == told(now) == ("ACTIVE", 5, 1)  # with what nobody had leased
    plan = await rig.client.resume(rule_id=rule_id, validate_only=True)
    assert told(plan.rules[0]) == ("ACTIVE", 5, 1)


async def test_of_a_canary_of_a_rule_with_steps_that_another_withholds(rig: Rig) -> None:
    await one_in_flight_of(rig, 4)
    await rig.client.pause(execution_id="x3")
    rule_id = await paused(rig)

    plan, done = await planned_and_done(rig, rule_id=rule_id, canary=1)
    assert (plan.released_steps, plan.still_paused_steps) == (1, 1)
    assert (done.released_steps, done.still_paused_steps) == (1, 1)


async def test_of_a_plan_of_an_exemption(rig: Rig) -> None:
    await one_in_flight_of(rig, 4)
    rule_id = await paused(rig)

    plan = await rig.client.update_pause_rule(rule_id, exempt=["x3"], validate_only=True)
    assert (plan.released_steps, told(plan.rule)) == (1, ("ACTIVE", 3, 1))
    done = await rig.client.update_pause_rule(rule_id, exempt=["x3"], plan_token=plan.plan_token)
    assert (done.released_steps, told(done.rule)) == (1, ("ACTIVE", 2, 1))
    await settled(rig)
    assert told(await rig.client.get_pause_rule(rule_id)) == ("ACTIVE", 2, 1)
