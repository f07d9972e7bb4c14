"""A breaker is deleted; the rule of an open one stays, and is an ordinary one."""

from __future__ import annotations

import pytest
from breaking import ONE, breaker
from rig import LONG, Rig

from zart import errors


async def test_its_rule_stays(rig: Rig) -> None:
    breaker_id = await breaker(rig.client)
    rule_id = (await rig.client.trip_breaker(breaker_id)).rule_id

    deleted = await rig.client.delete_breaker(breaker_id)

    assert (deleted.left_rule_id, deleted.breaker.status) == (rule_id, "OPEN")
    with pytest.raises(errors.BreakerNotFound):
        await rig.client.get_breaker(breaker_id)
    rule = await rig.client.get_pause_rule(rule_id)
    assert (rule.status, rule.breaker_id) == ("ACTIVE", "")
    await rig.start("x", ONE)
    assert await rig.statuses() == {"charge": "PAUSED"}
    await rig.client.resume(rule_id=rule_id)
    assert await rig.lease(wait=LONG)


async def test_a_closed_one_leaves_nothing(rig: Rig) -> None:
    breaker_id = await breaker(rig.client)
    await rig.client.trip_breaker(breaker_id)
    await rig.client.reset_breaker(breaker_id)

    assert (await rig.client.delete_breaker(breaker_id)).left_rule_id == ""
    assert await rig.client.list_breakers() == []


@pytest.mark.parametrize("is_stopped", [True, False])
async def test_a_closed_one_leaves_a_rule_that_stands(rig: Rig, *, is_stopped: bool) -> None:
    """It is let go at a pace still; or it was, until somebody stopped that."""
    breaker_id = await breaker(rig.client, rate_per_second=0.01)
    rule_id = (await rig.client.trip_breaker(breaker_id, incident="INC-7")).rule_id
    for n in range(3):
        await rig.start(f"x-{n}", ONE)
    await rig.client.reset_breaker(breaker_id)
    if is_stopped:
        await rig.client.stop_release(rule_id)

    deleted = await rig.client.delete_breaker(breaker_id, triggered_by="bob")

    assert (deleted.left_rule_id, deleted.breaker.status) == (rule_id, "CLOSED")
    rule = await rig.client.get_pause_rule(rule_id)
    assert (rule.status, rule.breaker_id) == ("ACTIVE" if is_stopped else "RELEASING", "")
    record = next(o for o in await rig.client.list_operations(breaker_id=breaker_id))
    assert (record.kind, record.rule_id, record.incident) == ("DELETE_BREAKER", rule_id, "INC-7")
    await rig.client.resume(rule_id=rule_id)
    assert await rig.lease(wait=LONG)


async def test_of_several_rules_that_stand_it_names_the_newest(rig: Rig) -> None:
    breaker_id = await breaker(rig.client, rate_per_second=0.01)
    rules = []
    for n in range(2):
        rules.append((await rig.client.trip_breaker(breaker_id)).rule_id)
        for m in range(3):
            await rig.start(f"x-{n}-{m}", ONE)
        await rig.client.reset_breaker(breaker_id)

    assert (await rig.client.delete_breaker(breaker_id)).left_rule_id == rules[1]

    standing = await rig.client.list_pause_rules()
    assert {r.rule_id: (r.status, r.breaker_id) for r in standing} == dict.fromkeys(
        rules, ("RELEASING", "")
    )
