"""What a breaker counts and does is changed, and its state is not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from breaking import breaker, count_by_now, fail, until, until_counted
from rig import Rig

from zart import errors


async def test_only_what_is_named_is_changed(rig: Rig) -> None:
    breaker_id = await breaker(rig.client, min_failure_ratio=0.5, cooldown=9, rate_per_second=2)
    before = await rig.client.get_breaker(breaker_id)

    changed = await rig.client.update_breaker(
        breaker_id, failure_threshold=7, step_pattern=None, cooldown=None
    )

    after = changed.breaker
    assert (after.failure_threshold, after.step_pattern, after.cooldown) == (7, None, None)
    assert (after.rate_per_second, after.probe_steps) == (2, 1)
    assert (after.task_name, after.window, after.min_failure_ratio) == (
        before.task_name,
        timedelta(minutes=1),
        0.5,
    )


async def test_another_threshold_counts_on_and_another_scope_anew(rig: Rig) -> None:
    breaker_id = await breaker(rig.client, failure_threshold=100)
    await fail(rig, 2)
    await until_counted(rig.client, breaker_id, 2)

    await rig.client.update_breaker(breaker_id, failure_threshold=50)
    assert (await rig.client.get_breaker(breaker_id)).failures_in_window == 2
    await rig.client.update_breaker(breaker_id, step_pattern="charge")
    assert (await rig.client.get_breaker(breaker_id)).failures_in_window == 0
    await rig.client.update_breaker(breaker_id, failure_threshold=1)
    await fail(rig, 1, "y")
    await until(rig.client, breaker_id, "OPEN")


@pytest.mark.parametrize("ratio", [0.0, 0.5])
async def test_one_that_has_counted_enough_for_a_lower_threshold_opens(
    rig: Rig, ratio: float
) -> None:
    """Though nothing more fails, and what did is too long ago to be found again by a look."""
    breaker_id = await breaker(rig.client, failure_threshold=100, min_failure_ratio=ratio)
    await count_by_now(rig, breaker_id)
    await rig.db.execute(
        "INSERT INTO zart.breaker_counts (breaker_key, generation, second, failed)"
        " SELECT breaker_key, generation, date_trunc('second', now()), 2 FROM zart.breakers"
    )

    changed = await rig.client.update_breaker(breaker_id, failure_threshold=2)
    assert (changed.status, changed.breaker.failures_in_window) == ("CLOSED", 2)
    opened = await until(rig.client, breaker_id, "OPEN")

    assert (opened.trip_count, opened.last_error) == (1, None)
    rule = await rig.client.get_pause_rule(opened.rule_id)
    assert rule.reason == "too many attempts ended badly"


async def test_an_open_one_stays_open_and_so_does_its_rule(rig: Rig) -> None:
    breaker_id = await breaker(rig.client)
    opened = await rig.client.trip_breaker(breaker_id)

    changed = await rig.client.update_breaker(breaker_id, task_name="other")

    assert (changed.status, changed.rule_id) == ("OPEN", opened.rule_id)
    assert (await rig.client.get_pause_rule(opened.rule_id)).task_name == "t"


async def test_something_has_to_be_left_to_count(rig: Rig) -> None:
    breaker_id = await breaker(rig.client, step_pattern=None)
    with pytest.raises(errors.InvalidField, match="task_name"):
        await rig.client.update_breaker(breaker_id, task_name=None)
    with pytest.raises(errors.InvalidField, match="nothing is to be changed"):
        await rig.client.update_breaker(breaker_id)


async def test_one_that_begins_anew_has_a_generation_of_this_moment(rig: Rig) -> None:
    breaker_id = await breaker(rig.client, cooldown=9)
    await count_by_now(rig, breaker_id)
    began = "SELECT closed_at > statement_timestamp() - interval '30 seconds', cooldowns"
    began += " FROM zart.breakers"

    await rig.client.update_breaker(breaker_id, failure_threshold=7)
    assert tuple(await rig.db.fetchrow(began) or ()) == (False, 1)
    await rig.client.update_breaker(breaker_id, min_failure_ratio=0.5)
    # It has been closed for longer than its cooldown: it does not flap if it opens soon.
    assert tuple(await rig.db.fetchrow(began) or ()) == (True, 0)
