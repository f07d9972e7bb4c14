"""ExplainStep: what a breaker's rule withholds goes on by the breaker, and as that says."""

from __future__ import annotations

import pytest
from breaking import COOLDOWN, ONE, breaker, cool, until
from explaining import why
from rig import LONG, Rig
from terminal import zart_command

from zart.testing.server import ServerUnderTest


@pytest.mark.parametrize("cooldown", [None, COOLDOWN])
async def test_what_an_open_breaker_withholds(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch, cooldown: object
) -> None:
    monkeypatch.setenv("ZART_ADDRESS", zart_server.address)
    breaker_id = await breaker(rig.client, cooldown=cooldown)
    opened = (await rig.client.trip_breaker(breaker_id)).breaker
    await rig.start("x", ONE)

    step = await why(rig, "charge")

    [cause] = [cause for cause in step.causes if cause.kind == "PAUSE_RULE"]
    assert cause.rule_id == opened.rule_id
    if cooldown is None:
        assert cause.text.endswith(f"breaker {breaker_id} is OPEN until it is reset")
        assert step.next == "It goes on once its breaker is reset: that has no cooldown."
        assert zart_command(monkeypatch, step.next_command[1:]).code == 0
        assert [task.execution_id for task in await rig.lease(wait=LONG)] == ["x"]
        return
    assert opened.cooldown_ends_at is not None
    then = opened.cooldown_ends_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert cause.text.endswith(f"breaker {breaker_id} is OPEN until {then}")
    assert f"lets try at {then}" in step.next
    shown = zart_command(monkeypatch, step.next_command[1:])
    assert (shown.code, breaker_id in shown.out) == (0, True)


async def test_what_a_half_open_breaker_withholds_beside_another_rule(rig: Rig) -> None:
    breaker_id = await breaker(rig.client, cooldown=COOLDOWN)
    await rig.client.trip_breaker(breaker_id)
    await cool(rig)
    await until(rig.client, breaker_id, "HALF_OPEN")
    other = (await rig.client.pause(task_name="t")).rule.rule_id
    await rig.start("x", ONE)

    step = await why(rig, "charge")

    first, second = (cause for cause in step.causes if cause.rule_id)
    assert first.text.endswith(f"breaker {breaker_id} is HALF_OPEN: it lets steps try")
    assert second.rule_id == other
    assert step.next == "It goes on once all 2 pause rules that match it have let it go."
    assert step.next_command == ("zart", "breaker", "show", breaker_id)
