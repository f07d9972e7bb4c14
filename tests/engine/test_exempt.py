"""Exemptions: a rule does not match the steps of an execution, at once and until that is undone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from invariants import broken
from rig import CHAIN, LONG, Rig, eventually, specs

import zart
from zart import errors

FAN = {"a": (), "b": (), "c": ()}


async def settled(rig: Rig) -> bool:
    return not await rig.db.fetchval("SELECT EXISTS (SELECT FROM zart.pause_work)")


async def test_an_exempt_execution_runs_while_all_others_stay_paused(rig: Rig) -> None:
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    for name in "xyz":
        await rig.start(name, FAN)

    updated = await rig.client.update_pause_rule(rule_id, exempt=["y"])

    assert (updated.released_steps, updated.withheld_again_steps) == (3, 0)
    assert updated.rule.exempt_execution_ids == ("y",)
    assert set((await rig.statuses("y")).values()) == {"SCHEDULED"}
    await eventually(lambda: settled(rig))
    tasks = await rig.lease()
    assert {t.execution_id for t in tasks} == {"y"}
    assert len(tasks) == 3
    # Also what becomes ready later, in this run and in the next.
    await rig.complete(*tasks)
    await rig.client.restart("y")
    assert {t.execution_id for t in await rig.lease()} == {"y"}
    await rig.client.rerun("y", force_rerun=["a"])
    assert {t.execution_id for t in await rig.lease()} == {"y"}
    assert set((await rig.statuses("x")).values()) == {"PAUSED"}


async def test_a_removed_exemption_withholds_at_once_what_is_queued(rig: Rig) -> None:
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    await rig.client.update_pause_rule(rule_id, exempt=["x", "y"])
    for name in "xyz":
        await rig.start(name, FAN)
    (flying,) = [t for t in await rig.lease(1) if t.execution_id == "x"]

    updated = await rig.client.update_pause_rule(rule_id, unexempt=["x"])

    assert updated.withheld_again_steps == 2
    assert sorted((await rig.statuses("x")).values()) == ["PAUSED", "PAUSED", "RUNNING"]
    assert {t.execution_id for t in await rig.lease()} == {"y"}
    await eventually(lambda: settled(rig))
    assert await rig.complete(flying) == ["RECORDED"]
    assert await rig.lease() == []
    await rig.client.resume(rule_id=rule_id)
    await eventually(lambda: settled(rig))
    assert {t.execution_id for t in await rig.lease()} == {"x", "z"}


async def test_a_removed_exemption_withholds_nothing_of_an_execution_the_rule_does_not_match(
    rig: Rig,
) -> None:
    """It may name any execution; a rule that names one matches no other."""
    rule_id = (await rig.client.pause(execution_id="x")).rule_id
    await rig.start("x", FAN)
    await rig.start("y", FAN)
    await rig.client.update_pause_rule(rule_id, exempt=["x", "y"])

    updated = await rig.client.update_pause_rule(rule_id, unexempt=["x", "y"])

    assert updated.withheld_again_steps == 3
    await eventually(lambda: settled(rig))
    assert set((await rig.statuses("x")).values()) == {"PAUSED"}
    assert set((await rig.statuses("y")).values()) == {"SCHEDULED"}
    assert await broken(rig.db, settled=True) == {}
    assert {t.execution_id for t in await rig.lease()} == {"y"}


async def test_what_another_rule_matches_is_left_to_it(rig: Rig) -> None:
    one = (await rig.client.pause(task_name="t")).rule_id
    two = (await rig.client.pause(execution_id="x", step_pattern="a")).rule_id
    await rig.start("x", FAN)

    updated = await rig.client.update_pause_rule(one, exempt=["x"])

    assert updated.released_steps == 2
    steps = {s.step_name: s for s in (await rig.client.get_execution("x")).steps}
    assert (steps["a"].status, steps["a"].paused_by) == ("PAUSED", two)
    assert steps["b"].status == "SCHEDULED"
    await eventually(lambda: settled(rig))
    assert {t.step_name for t in await rig.lease()} == {"b", "c"}
    resumed = await rig.client.resume(rule_id=two)
    assert (resumed.released_steps, resumed.still_paused_steps) == (1, 0)


async def test_an_exemption_holds_while_its_rule_is_settling(rig: Rig) -> None:
    """A claim does not pass over the lane of an exempt execution, nor does the sweep pause it."""
    await rig.start("x", FAN)
    await rig.start("y", FAN)
    async with rig.db.transaction():
        # Nobody moves what is locked: the rule goes on settling.
        await rig.db.execute("SELECT FROM zart.queue WHERE step_name = 'a' FOR UPDATE")
        rule_id = (await rig.client.pause(task_name="t")).rule_id
        await rig.client.update_pause_rule(rule_id, exempt=["y"])
        # One each, and waited for: the sweep may have them locked for a moment.
        tasks = [*await rig.lease(1, wait=LONG), *await rig.lease(1, wait=LONG)]
        assert {(t.execution_id, t.step_name) for t in tasks} == {("y", "b"), ("y", "c")}
        listed = rig.client.list_executions(step_statuses=["paused"])
        assert [e.execution_id async for e in listed] == ["x"]
    await eventually(lambda: settled(rig))
    assert [(t.execution_id, t.step_name) for t in await rig.lease()] == [("y", "a")]


async def test_exemptions_are_idempotent_and_may_be_of_what_is_not_there_yet(rig: Rig) -> None:
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    await rig.start("x", FAN)

    first = await rig.client.update_pause_rule(rule_id, exempt=["new", "x"], reason="try")
    again = await rig.client.update_pause_rule(rule_id, exempt=["new", "x", "x"])
    none = await rig.client.update_pause_rule(rule_id, unexempt=["other"])

    assert [(w.kind, w.field) for w in first.warnings] == [
        ("MATCHES_NOTHING", "add_exempt_execution_ids[0]")
    ]
    assert again.rule.exempt_execution_ids == none.rule.exempt_execution_ids == ("new", "x")
    assert (again.released_steps, none.withheld_again_steps) == (0, 0)
    await rig.start("new", FAN)
    await eventually(lambda: settled(rig))
    assert {t.execution_id for t in await rig.lease()} == {"new", "x"}
    # To and fro without a lease between.
    for _ in range(2):
        await rig.client.update_pause_rule(rule_id, unexempt=["x"])
        await rig.client.update_pause_rule(rule_id, exempt=["x"])
    rows = await rig.db.fetch("SELECT * FROM zart.pause_exemptions WHERE execution_id = 'x'")
    assert [row["token_until"] is None for row in rows].count(True) == 1


async def test_the_expiry_is_changed(rig: Rig) -> None:
    rule = (await rig.client.pause(task_name="t", expires_in=3600)).rule
    assert rule.expires_at is not None

    later = await rig.client.update_pause_rule(rule.rule_id, expires_in=timedelta(hours=2))
    never = await rig.client.update_pause_rule(rule.rule_id, never_expires=True)
    at = await rig.client.update_pause_rule(rule.rule_id, expires_at=rule.expires_at)
    same = await rig.client.update_pause_rule(rule.rule_id, exempt=["x"])

    assert later.rule.expires_at is not None
    assert later.rule.expires_at > rule.expires_at
    assert never.rule.expires_at is None
    assert at.rule.expires_at == same.rule.expires_at == rule.expires_at
    with pytest.raises(errors.InvalidField):
        await rig.client.update_pause_rule(
            rule.rule_id, expires_at=rule.expires_at - timedelta(days=1)
        )
    await rig.client.update_pause_rule(rule.rule_id, expires_in=0.01)

    async def is_expired() -> bool:
        return (await rig.client.get_pause_rule(rule.rule_id)).status == "EXPIRED"

    await eventually(is_expired)


async def test_what_is_refused(rig: Rig) -> None:
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    for exempt, unexempt in (((), ()), (["x"], ["x"]), ([""], ())):
        with pytest.raises(errors.InvalidField):
            await rig.client.update_pause_rule(rule_id, exempt=exempt, unexempt=unexempt)
    with pytest.raises(errors.PauseRuleNotFound):
        await rig.client.update_pause_rule("pr-none", exempt=["x"])
    await rig.client.update_pause_rule(rule_id, exempt=[f"x{n}" for n in range(1000)])
    with pytest.raises(errors.TooManyItems):
        await rig.client.update_pause_rule(rule_id, exempt=["one more"])
    swapped = await rig.client.update_pause_rule(rule_id, exempt=["one more"], unexempt=["x0"])
    assert len(swapped.rule.exempt_execution_ids) == 1000
    (listed,) = await rig.client.list_pause_rules()
    assert len(listed.exempt_execution_ids) == 100
    await rig.client.resume(rule_id=rule_id)
    with pytest.raises(errors.RuleNotActive) as refused:
        await rig.client.update_pause_rule(rule_id, exempt=["y"])
    assert refused.value.metadata == {"rule_id": rule_id, "status": "RESUMED"}


async def test_it_is_on_record_by_execution(rig: Rig) -> None:
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    await rig.start("x", CHAIN)
    await rig.client.update_pause_rule(rule_id, exempt=["x", "y"], reason="fix", incident="INC-7")
    again = await rig.client.update_pause_rule(rule_id, unexempt=["x"], request_id="r")
    replayed = await rig.client.update_pause_rule(rule_id, unexempt=["x"], request_id="r")

    assert replayed.replayed
    assert replayed.rule == again.rule
    ops = [op async for op in rig.client.list_operations(execution_id="x")]
    assert [op.kind for op in ops] == ["UPDATE_PAUSE_RULE", "UPDATE_PAUSE_RULE", "START"]
    assert [op.made.is_exempt for op in ops[:2] if op.made] == [False, True]
    assert (ops[1].rule_id, ops[1].reason, ops[1].incident) == (rule_id, "fix", "INC-7")


async def test_tokens_divide_what_was_exempt_from_what_was_not(rig: Rig) -> None:
    """A lease is of the time between two changes by its token, whichever clock says what."""
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    retry = zart.Retry(max_attempts=100, initial_backoff=0.0)
    await rig.client.start("t", execution_id="x", steps=specs(FAN, retry=retry))
    await rig.client.update_pause_rule(rule_id, exempt=["x"])
    await eventually(lambda: settled(rig))
    tasks = await rig.lease()
    await rig.client.update_pause_rule(rule_id, unexempt=["x"])

    (row,) = await rig.db.fetch(
        "SELECT r.token_from AS begun, x.token_from, x.token_until FROM zart.pause_rules r"
        " JOIN zart.pause_exemptions x USING (rule_key)"
    )
    assert len(tasks) == 3
    assert all(row["token_from"] < t.lease_token <= row["token_until"] for t in tasks)
    assert row["begun"] <= row["token_from"]


async def test_what_is_exempt_and_queued_is_not_taken_off_what_is_withheld(rig: Rig) -> None:
    for execution_id in ("x", "y", "z"):
        await rig.start(execution_id, {"a": ()})
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    await eventually(lambda: settled(rig))
    await rig.client.update_pause_rule(rule_id, exempt=["x"])
    await eventually(lambda: settled(rig))
    assert await rig.db.fetchval("SELECT count(*) FROM zart.queue") == 1
    rule = await rig.client.get_pause_rule(rule_id)
    plan = await rig.client.resume(rule_id=rule_id, validate_only=True)

    assert (rule.paused_steps, rule.paused_steps_is_lower_bound) == (2, False)
    assert [each.paused_steps for each in plan.rules] == [2]


async def test_what_is_withheld_is_told_beside_however_much_is_exempt(rig: Rig) -> None:
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    await rig.start("x", {"a": ()})
    await rig.client.update_pause_rule(rule_id, exempt=["x"])
    await eventually(lambda: settled(rig))
    await rig.start("y", FAN)
    await rig.db.execute(
        "INSERT INTO zart.queue SELECT c.* FROM zart.queue q, generate_series(1, 10000) n,"
        " jsonb_populate_record(q, jsonb_build_object('step_no', n, 'queue_no', q.queue_no - n)) c"
    )
    rule = await rig.client.get_pause_rule(rule_id)
    assert (rule.paused_steps, rule.paused_steps_is_lower_bound) == (3, False)
