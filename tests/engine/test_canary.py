"""Canaries: a rule lets its oldest steps go, so many, and withholds the others as before."""

from __future__ import annotations

import asyncio

import pytest
from releasing import hold_the_pace, paused, settled
from rig import Rig, eventually

import zart
from zart import errors
from zart.testing.server import ServerUnderTest

STEPS = {f"s{n}": () for n in range(6)}


def named(steps: dict[str, str], status: str) -> set[str]:
    return {name for name, found in steps.items() if found == status}


async def test_the_oldest_steps_are_released_and_the_rule_stays_active(rig: Rig) -> None:
    rule_id = await paused(rig)
    await rig.start("x", STEPS)
    await rig.start("y", STEPS)
    answer = await rig.client.resume(rule_id=rule_id, canary=4)

    assert (answer.rules_deleted, answer.released_steps) == (0, 4)
    assert [(r.rule_id, r.status.value) for r in answer.rules] == [(rule_id, "ACTIVE")]
    assert named(await rig.statuses("x"), "SCHEDULED") == {"s0", "s1", "s2", "s3"}
    tasks = await rig.lease()
    assert {(t.execution_id, t.step_name) for t in tasks} == {("x", f"s{n}") for n in range(4)}
    assert await rig.lease() == []
    operation = next(o for o in await rig.client.list_operations() if o.kind.value != "DRAIN")
    assert (operation.kind.value, operation.rule_id) == ("RESUME", rule_id)
    assert operation.made is not None
    assert (operation.made.canary, operation.made.released_steps) == (4, 4)


async def test_what_does_not_complete_the_step_is_paused_again_at_the_end_of_the_line(
    rig: Rig,
) -> None:
    """After a failure, a lease that was given back or lost, and a later RetryStep alike."""
    rule_id = await paused(rig)
    await rig.start("x", STEPS, retry=zart.Retry(2, 0.0))
    await rig.client.resume(rule_id=rule_id, canary=4)
    one, two, three, four = await rig.lease(lease_duration=3600)
    await rig.report(zart.Outcome(one.task_id, one.lease_token, zart.Released()))
    await rig.fail(two, retryable=True)
    await rig.fail(three)
    await rig.client.retry_step("x", three.step_name)
    await rig.db.execute("UPDATE zart.leases SET lease_expires_at = now()")

    async def all_are_paused() -> bool:
        return named(await rig.statuses(), "PAUSED") == set(STEPS)

    await eventually(all_are_paused)
    await rig.client.resume(rule_id=rule_id, canary=2)
    assert {t.step_name for t in await rig.lease()} == {"s4", "s5"}
    answer = await rig.client.resume(rule_id=rule_id, canary=10)
    assert answer.released_steps == 4  # fewer than were asked for: those
    assert [t.step_name for t in await rig.lease()] == [
        task.step_name for task in (one, two, three, four)
    ]
    with pytest.raises(errors.NothingPaused) as caught:
        await rig.client.resume(rule_id=rule_id, canary=1)
    assert caught.value.metadata == {"rule_id": rule_id}


async def test_what_becomes_ready_after_a_released_step_is_paused_like_any_other(rig: Rig) -> None:
    rule_id = await paused(rig)
    await rig.start("x", {"a": (), "b": ("a",)})
    await rig.client.resume(rule_id=rule_id, canary=1)
    await rig.complete(await rig.lease_one("a"))
    assert await rig.statuses() == {"a": "COMPLETED", "b": "PAUSED"}


async def test_a_step_that_another_rule_withholds_too_is_no_canary(rig: Rig) -> None:
    first = await paused(rig)
    other = await paused(rig, step_pattern="s[0-2]")
    await rig.start("x", STEPS)
    answer = await rig.client.resume(rule_id=first, canary=6)

    assert answer.released_steps == 3
    assert named(await rig.statuses(), "SCHEDULED") == {"s3", "s4", "s5"}
    assert (await rig.client.get_step("x", "s0")).paused_by == other  # handed over
    with pytest.raises(errors.NothingPaused):
        await rig.client.resume(rule_id=other, canary=1)
    # The first rule has let none of them go.
    await rig.client.resume(rule_id=other)
    await settled(rig)
    assert len(await rig.lease()) == 3
    assert named(await rig.statuses(), "PAUSED") == {"s0", "s1", "s2"}


async def test_steps_that_another_rule_withholds_do_not_stand_in_its_way(rig: Rig) -> None:
    first = await paused(rig)
    await paused(rig, step_pattern="s[02]")
    for name in ("x", "y"):
        await rig.start(name, STEPS)
    plan = await rig.client.resume(rule_id=first, canary=3, validate_only=True)
    answer = await rig.client.resume(rule_id=first, canary=3, plan_token=plan.plan_token)

    assert (plan.released_steps, answer.released_steps) == (3, 3)
    assert named(await rig.statuses("x"), "SCHEDULED") == {"s1", "s3", "s4"}
    answer = await rig.client.resume(rule_id=first, canary=3)
    assert answer.released_steps == 3
    assert named(await rig.statuses("x"), "SCHEDULED") == {"s1", "s3", "s4", "s5"}
    assert named(await rig.statuses("y"), "SCHEDULED") == {"s1", "s3"}


async def test_it_passes_over_ten_thousand_steps_at_most_as_its_plan_says(rig: Rig) -> None:
    first = await paused(rig)
    await paused(rig, step_pattern="s*")
    await rig.start("x", {"s": ()})
    await rig.start("y", {"free": ()})
    await rig.db.execute(
        "INSERT INTO zart.held SELECT c.* FROM zart.held h, generate_series(1, 10000) n,"
        " jsonb_populate_record(h, jsonb_build_object('step_no', n, 'queue_no', h.queue_no - n)) c"
        " WHERE h.step_name = 's'"
    )
    for plans in (True, False):
        with pytest.raises(errors.NothingPaused) as caught:
            await rig.client.resume(rule_id=first, canary=1, validate_only=plans)
        assert caught.value.metadata == {"rule_id": first, "looked_at": "10001"}
        assert "of the 10001 steps that were looked at none" in str(caught.value)
    for plans in (True, False):  # it reaches one further
        answer = await rig.client.resume(rule_id=first, canary=2, validate_only=plans)
        assert answer.released_steps == 1
    assert await rig.statuses("y") == {"free": "SCHEDULED"}


async def test_what_a_releasing_rule_has_to_let_go_too_goes_at_its_pace(rig: Rig) -> None:
    """The canary's rule has let it go all the same, as its plan says."""
    first = await paused(rig, step_pattern="s[0-2]")
    releasing = await paused(rig)
    await rig.start("x", STEPS)
    await rig.client.resume(rule_id=releasing, rate_per_second=0.01)
    await hold_the_pace(rig)
    plan = await rig.client.resume(rule_id=first, canary=2, validate_only=True)
    answer = await rig.client.resume(rule_id=first, canary=2, plan_token=plan.plan_token)
    assert (plan.released_steps, answer.released_steps) == (2, 2)


async def test_nor_do_they_where_the_rule_was_settling(rig: Rig) -> None:
    await rig.start("x", STEPS)
    async with rig.locked("SELECT FROM zart.queue WHERE step_name = 's5' FOR UPDATE"):
        first = (await rig.client.pause(task_name="t")).rule_id
        await rig.client.pause(step_pattern="s[0145]")
        answer = await rig.client.resume(rule_id=first, canary=4)
    assert answer.released_steps == 2

    async def released() -> bool:
        return named(await rig.statuses(), "SCHEDULED") == {"s2", "s3"}

    await eventually(released)


async def test_of_a_settling_rule_it_begins_once_the_rule_is_settled(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    # At once, not with the next look for what is left to do.
    stopping = zart_server.running.runtime.rule_looks.stop()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(stopping, zart_server.loop))
    await rig.start("x", STEPS)
    async with rig.locked("SELECT FROM zart.queue WHERE step_name = 's5' FOR UPDATE"):
        rule_id = (await rig.client.pause(task_name="t")).rule_id
        answer = await rig.client.resume(rule_id=rule_id, canary=2)
        assert answer.released_steps == 2
        assert await rig.lease() == []

    async def released() -> bool:
        return named(await rig.statuses(), "SCHEDULED") == {"s0", "s1"}

    await eventually(released)
    assert named(await rig.statuses(), "PAUSED") == {"s2", "s3", "s4", "s5"}
    assert await rig.db.fetchval("SELECT count(*) FROM zart.pause_canaries") == 0


async def test_it_is_of_exactly_one_rule_that_has_not_ended(rig: Rig) -> None:
    one = await paused(rig)
    two = await paused(rig, step_pattern="s*")
    with pytest.raises(errors.RulesAmbiguous) as caught:
        await rig.client.resume(task_name="t", canary=1)
    assert caught.value.metadata == {"rules": "2", "rule_ids": f"{one}, {two}"}
    with pytest.raises(errors.RulesAmbiguous):
        await rig.client.resume(task_name="u", canary=1)
    with pytest.raises(errors.PauseRuleNotFound):
        await rig.client.resume(rule_id="pr-none", canary=1)
    await rig.client.resume(rule_id=two)
    with pytest.raises(errors.RuleNotActive) as ended:
        await rig.client.resume(rule_id=two, canary=1)
    assert ended.value.metadata == {"rule_id": two, "status": "RESUMED"}


@pytest.mark.parametrize("canary", [0, -1, 10_001])
async def test_it_has_bounds(rig: Rig, canary: int) -> None:
    with pytest.raises(errors.InvalidField) as caught:
        await rig.client.resume(rule_id="pr-x", canary=canary)
    assert "canary" in str(caught.value)


async def test_a_repeat_with_the_same_request_id_releases_nothing_more(rig: Rig) -> None:
    rule_id = await paused(rig)
    await rig.start("x", STEPS)
    for replayed in (False, True):
        answer = await rig.client.resume(rule_id=rule_id, canary=2, request_id="once")
        assert (answer.replayed, answer.released_steps) == (replayed, 2)
    assert len(await rig.lease()) == 2


async def test_steps_of_runs_that_are_being_changed_are_passed_over(rig: Rig) -> None:
    rule_id = await paused(rig)
    await rig.start("x", STEPS)
    await rig.start("y", STEPS)
    of_x = "SELECT FROM zart.runs WHERE execution_key = (SELECT execution_key FROM zart.executions"
    async with rig.locked(f"{of_x} WHERE execution_id = 'x') FOR NO KEY UPDATE"):
        answer = await rig.client.resume(rule_id=rule_id, canary=2)
    assert answer.released_steps == 2
    assert {t.execution_id for t in await rig.lease()} == {"y"}
