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
