"""A Pause says what its scope names that is not there, and what may have been meant."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from rig import CHAIN, Rig

import zart
from zart import errors

CHARGE = {"lookup-user": (), "charge-card": ("lookup-user",), "send-mail": ("charge-card",)}


async def orders(rig: Rig) -> None:
    """Register a task, start an inline graph of another one, and finish a third."""
    rig.registers = True
    await rig.start("order-1", CHARGE, task="order")
    rig.registers = False
    await rig.start("by-hand-7", {"look": (), "fix-it": ("look",)}, task="by-hand")
    await rig.start("old-1", {"gone": ()}, task="old")
    await rig.work(task="old")


THERE: list[dict[str, Any]] = [
    {"task_name": "order"},
    {"task_name": "order", "step_pattern": "charge-*"},
    {"step_pattern": "*-mail"},
    {"task_name": "by-hand"},
    {"task_name": "by-hand", "step_pattern": "fix-*"},
    {"step_pattern": "l{oo,ea}k"},
    {"execution_id": "order-1"},
    {"execution_id": "by-hand-7", "step_pattern": "fix-it"},
    {"execution_id": "order-1", "task_name": "order", "step_pattern": "send-*"},
    {"everything": True},
]
NOT_THERE: list[tuple[dict[str, Any], str, str]] = [
    ({"task_name": "ordr"}, "task_name", "order"),
    ({"task_name": "ordr", "step_pattern": "chrage-*"}, "task_name", "order"),
    ({"task_name": "order", "step_pattern": "chrage-*"}, "step_pattern", "charge-card"),
    ({"task_name": "by-hand", "step_pattern": "fix-at"}, "step_pattern", "fix-it"),
    ({"step_pattern": "send_mail"}, "step_pattern", "send-mail"),
    ({"task_name": "by-hand", "step_pattern": "charge-card"}, "step_pattern", ""),
    ({"task_name": "old"}, "task_name", ""),
    ({"step_pattern": "gone"}, "step_pattern", ""),
    ({"execution_id": "order-2"}, "execution_id", "order-1"),
    ({"execution_id": "old-1"}, "execution_id", ""),
    ({"execution_id": "order-1", "task_name": "by-hand"}, "task_name", "order"),
    ({"execution_id": "by-hand-7", "step_pattern": "lok"}, "step_pattern", "look"),
    ({"execution_id": "qqq"}, "execution_id", ""),
]


async def test_what_is_there_is_paused_without_a_word(rig: Rig) -> None:
    await orders(rig)
    for scope in THERE:
        paused = await rig.client.pause(**scope, must_match=True)
        assert paused.warnings == (), scope


async def test_what_is_not_there_is_refused_or_warned_of(rig: Rig) -> None:
    await orders(rig)
    for scope, field, nearest in NOT_THERE:
        with pytest.raises(errors.ScopeMatchesNothing) as refused:
            await rig.client.pause(**scope, must_match=True)
        told = refused.value
        assert (told.metadata["field"], told.metadata["nearest"]) == (field, nearest), scope
        with pytest.raises(errors.ScopeMatchesNothing):
            await rig.client.pause(**scope, must_match=True, validate_only=True)

        (warning,) = (await rig.client.pause(**scope)).warnings
        assert (warning.kind, warning.message) == ("MATCHES_NOTHING", told.message), scope
        assert (warning.field, warning.nearest) == (field, (nearest,) if nearest else ())
    assert len(await rig.client.list_pause_rules()) == len(NOT_THERE)


async def test_an_equal_rule_is_warned_of_until_it_ends(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    first = await rig.client.pause(task_name="t", reason="maintenance")
    await rig.client.pause(task_name="t", step_pattern="b")
    plan = await rig.client.pause(task_name="t", validate_only=True)
    (warning,) = plan.warnings
    assert (warning.kind, warning.rule_id) == ("EQUAL_RULE", first.rule_id)
    assert "tester" in warning.message
    assert "maintenance" in warning.message

    second = await rig.client.pause(task_name="t", request_id="r")
    assert second.warnings == plan.warnings
    repeated = await rig.client.pause(task_name="t", request_id="r")
    assert (repeated.replayed, repeated.warnings) == (True, plan.warnings)
    await rig.client.resume(rule_id=first.rule_id)
    await rig.client.resume(rule_id=second.rule_id)
    assert (await rig.client.pause(task_name="t")).warnings == ()


async def test_a_registered_task_without_executions_is_there(rig: Rig) -> None:
    await rig.client.register_task("new", [zart.StepSpec("first")])
    assert (await rig.client.pause(task_name="new", must_match=True)).warnings == ()
    await rig.client.register_task("new", [zart.StepSpec("second")])
    with pytest.raises(errors.ScopeMatchesNothing):
        await rig.client.pause(task_name="new", step_pattern="first", must_match=True)
    # An execution of the former version still has it.
    await rig.start("x", {"first": ()}, task="new")
    await rig.client.pause(task_name="new", step_pattern="first", must_match=True)


@pytest.mark.parametrize("is_plan", [False, True])
async def test_a_past_expiry_is_told_before_what_is_not_there(rig: Rig, *, is_plan: bool) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    with pytest.raises(errors.InvalidField) as refused:
        await rig.client.pause(
            task_name="nobody", expires_at=past, must_match=True, validate_only=is_plan
        )
    assert list(refused.value.fields) == ["expires_at"]
    with pytest.raises(errors.InvalidField) as refused:
        await rig.client.update_pause_rule("pr-nobody12", expires_at=past, validate_only=is_plan)
    assert list(refused.value.fields) == ["expires_at"]
