"""Resume and expiry: which rules end, and what becomes of the steps they withheld."""

from __future__ import annotations

from datetime import timedelta

import pytest
from rig import LONG, Rig, eventually

from zart import errors


async def test_resume_by_pattern_deletes_only_rules_with_that_very_pattern(rig: Rig) -> None:
    one = await rig.client.pause(step_pattern="send-*")
    await rig.client.pause(step_pattern="send-mail")
    await rig.client.pause(task_name="t", step_pattern="charge-*")
    answer = await rig.client.resume(step_pattern="send-*")

    assert [r.rule_id for r in answer.rules] == [one.rule_id]
    assert len(await rig.client.list_pause_rules()) == 2


async def test_resume_by_task_takes_its_narrower_rules_along(rig: Rig) -> None:
    await rig.client.pause(task_name="t")
    await rig.client.pause(task_name="t", step_pattern="a")
    await rig.client.pause(task_name="u")
    await rig.client.pause(step_pattern="a")
    answer = await rig.client.resume(task_name="t")

    assert answer.rules_deleted == 2
    left = await rig.client.list_pause_rules()
    assert [(r.task_name, r.step_pattern) for r in left] == [(None, "a"), ("u", None)]


async def test_steps_that_another_rule_matches_stay_paused_and_are_attributed_to_it(
    rig: Rig,
) -> None:
    await rig.start("x", {"a": (), "b": ()})
    first = await rig.client.pause(task_name="t")
    second = await rig.client.pause(step_pattern="a")
    answer = await rig.client.resume(rule_id=first.rule_id)

    assert (answer.released_steps, answer.still_paused_steps) == (1, 1)

    async def released() -> bool:
        return await rig.statuses() == {"a": "PAUSED", "b": "SCHEDULED"}

    await eventually(released)
    assert (await rig.client.get_step("x", "a")).paused_by == second.rule_id


async def test_resuming_everything_and_resuming_twice(rig: Rig) -> None:
    rule = await rig.client.pause(task_name="t")
    await rig.client.pause(everything=True)
    assert (await rig.client.resume(everything=True)).rules_deleted == 2

    again = await rig.client.resume(rule_id=rule.rule_id)
    assert again.rules_deleted == 0
    assert [r.status.value for r in again.rules] == ["RESUMED"]
    assert (await rig.client.resume(everything=True)).rules_deleted == 0
    with pytest.raises(errors.PauseRuleNotFound):
        await rig.client.resume(rule_id="pr-nobody00")


async def test_a_rule_expires_by_itself_and_its_steps_go_on(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    paused = await rig.client.pause(task_name="t", expires_in=0.5)
    assert paused.rule.expires_at is not None
    (task,) = await rig.lease(wait=LONG)
    assert task.step_name == "a"

    assert await rig.client.list_pause_rules() == []
    (rule,) = await rig.client.list_pause_rules(include_deleted=True)
    assert (rule.status, rule.deleted_by) == ("EXPIRED", "expiry")
    assert rule.deleted_at is not None
    assert rule.deleted_at - paused.rule.expires_at < timedelta(seconds=30)  # within one, promised
    kinds = [o.kind.value for o in await rig.client.list_operations()]
    assert kinds[0] == "EXPIRE"


async def test_many_withheld_steps_are_counted_to_a_bound_and_released(rig: Rig) -> None:
    names = {f"n{n}": () for n in range(6000)}
    await rig.start("x", names)
    await rig.start("y", names)
    paused = await rig.client.pause(task_name="t")
    assert (paused.paused_steps, paused.paused_steps_is_lower_bound) == (10_000, True)
    assert await rig.lease() == []

    resumed = await rig.client.resume(everything=True)
    assert (resumed.released_steps, resumed.released_steps_is_lower_bound) == (10_000, True)

    async def released() -> bool:
        return bool(await rig.db.fetchval("SELECT count(*) FROM zart.held") == 0)

    await eventually(released)
    assert await rig.db.fetchval("SELECT count(*) FROM zart.queue") == 12_000


async def test_what_a_rule_exempts_or_let_go_is_not_counted_in_place_of_what_it_withholds(
    rig: Rig,
) -> None:
    names = {f"n{n}": () for n in range(7000)}
    rule_id = (await rig.client.pause(task_name="t", must_match=False)).rule_id
    for execution_id in ("x", "y", "z"):
        await rig.start(execution_id, names)
    await rig.client.update_pause_rule(rule_id, exempt=["z"])

    async def exempt() -> bool:
        return bool(await rig.db.fetchval("SELECT count(*) FROM zart.queue") == 7000)

    async def plan(rate: float | None = None) -> tuple[int, bool, int]:
        plan = await rig.client.resume(rule_id=rule_id, validate_only=True, rate_per_second=rate)
        bound = plan.released_steps_is_lower_bound
        return plan.released_steps, bound, plan.still_paused_steps

    await eventually(exempt)
    assert await plan() == await plan(1.0) == (10_000, True, 0)
    await rig.client.resume(rule_id=rule_id, canary=10_000)
    assert await plan() == await plan(1.0) == (4000, False, 0)
