"""What is told of a rule of which not all that it may match was looked at: never too much."""

from __future__ import annotations

import pytest
from engine.test_promised_canaries import promised, settling
from releasing import settled
from rig import Rig

from zart import errors
from zart_server.engine.operations import canary_line, counts
from zart_server.store.pausing import counting, matching

SHIP, PACK = {"ship": (), "pack": ("ship",)}, {"pack": (), "ship": ("pack",)}


async def test_what_is_exempt_beyond_what_is_looked_at_is_not_taken_off(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "LOOKED_AT", 12)
    monkeypatch.setattr(matching, "_LEAST", 1)
    monkeypatch.setattr(counting, "_EXACT_TO", 5)
    for name, count, graph in (("first", 3, SHIP), ("pack", 12, PACK), ("exempt", 3, SHIP)):
        for n in range(count):
            await rig.start(f"{name}-{n}", graph, handler="h")
    await rig.client.pause(task_name="t")
    rule_id = (await rig.client.pause(step_pattern="ship")).rule_id
    await settled(rig)
    await rig.client.update_pause_rule(rule_id, exempt=[f"exempt-{n}" for n in range(3)])
    await settled(rig)
    rule = await rig.client.get_pause_rule(rule_id)
    assert (rule.paused_steps, rule.paused_steps_is_lower_bound) == (3, True)
    # But what is looked at is.
    await rig.client.pause(execution_id="first-0")  # else it would go, and not be looked at
    await rig.client.update_pause_rule(rule_id, exempt=["first-0"])
    await settled(rig)
    rule = await rig.client.get_pause_rule(rule_id)
    assert (rule.paused_steps, rule.paused_steps_is_lower_bound) == (2, True)


async def test_canaries_are_promised_what_was_found_once(
    rig: Rig, zart_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the rule withholds more than are counted, most of which another keeps."""
    monkeypatch.setattr(counts, "EXACT_TO", 5)
    monkeypatch.setattr(canary_line, "EXACT_TO", 5)
    await rig.start("free", {"b": ()})
    for n in range(10):
        await rig.start(f"kept-{n}", {"a": ()})
    await rig.client.pause(step_pattern="a")
    await settled(rig)
    async with settling(zart_database):
        rule_id = (await rig.client.pause(task_name="t")).rule_id
        assert (await rig.client.resume(rule_id=rule_id, canary=1)).released_steps == 1
        with pytest.raises(errors.NothingPaused, match="of the 6 steps"):
            await rig.client.resume(rule_id=rule_id, canary=1)
        assert await promised(rig) == 1
