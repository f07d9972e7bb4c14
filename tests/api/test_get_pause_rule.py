"""GetPauseRule: a rule by its id, deleted or not."""

from __future__ import annotations

import pytest
from rig import Rig

from zart.errors import PauseRuleNotFound


async def test_a_rule_is_read_until_and_after_it_ends(rig: Rig) -> None:
    paused = await rig.client.pause(task_name="t", reason="why", incident="INC-7")
    rule = await rig.client.get_pause_rule(paused.rule_id)
    assert (rule.rule_id, rule.created_at) == (paused.rule_id, paused.rule.created_at)
    assert (rule.reason, rule.incident, rule.status) == ("why", "INC-7", "ACTIVE")
    assert rule.exempt_execution_ids == ()

    await rig.client.resume(rule_id=paused.rule_id)
    assert (await rig.client.get_pause_rule(paused.rule_id)).status == "RESUMED"


async def test_the_view_has_what_is_stored_of_it(rig: Rig) -> None:
    paused = await rig.client.pause(task_name="t", incident="INC-7")
    await rig.start("x", {"a": ()})
    await rig.client.update_pause_rule(paused.rule_id, exempt=["x", "later"])
    rule = await rig.client.wait_drained(paused.rule_id)

    [row] = await rig.db.fetch("SELECT * FROM zart_pause_rules")
    assert (row["rule_id"], row["status"], row["incident"]) == (rule.rule_id, "active", "INC-7")
    assert (row["breaker_id"], row["drained_at"]) == ("", rule.drained_at)
    assert tuple(row["exempt_execution_ids"]) == rule.exempt_execution_ids == ("later", "x")


async def test_an_unknown_rule_is_not_found(rig: Rig) -> None:
    with pytest.raises(PauseRuleNotFound):
        await rig.client.get_pause_rule("pr-none")
