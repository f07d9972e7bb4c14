"""Steps ended by hand beside everything else: skipped ones, in reruns, under pauses, in receipts."""

from __future__ import annotations

import json

import pytest
from invariants import broken
from rig import CHAIN, Rig, eventually

import zart

FAN_IN = {"a": (), "b": (), "c": ("a", "b")}


@pytest.mark.parametrize("is_paused", [False, True])
async def test_what_it_opens_is_paused_where_a_rule_matches(rig: Rig, *, is_paused: bool) -> None:
    await rig.start("x", CHAIN)
    if is_paused:
        await rig.client.pause(task_name="t")
    await rig.client.complete_step("x", "a", 1)
    expected = "PAUSED" if is_paused else "SCHEDULED"
    assert await rig.statuses() == {"a": "COMPLETED", "b": expected, "c": "PENDING"}
    assert len(await rig.lease()) == (not is_paused)


async def test_in_a_rerun_what_is_preserved_stays_and_the_source_is_never_changed(rig: Rig) -> None:
    await rig.start("x", {"a": (), "b": ("a",), "c": ("b",), "d": ("a",)})
    await rig.work(fail=["b"])
    archived = await rig.client.get_execution("x", run_number=0)
    await rig.client.rerun("x", force_rerun=["a"])
    assert await rig.statuses() == {
        "a": "SCHEDULED", "b": "PENDING", "c": "PENDING", "d": "COMPLETED",
    }  # fmt: skip

    await rig.client.complete_step("x", "a", "by hand")
    task = await rig.lease_one("b")
    assert task.upstream == {"a": "by hand"}
    await rig.complete(task)
    await rig.work()
    state = await rig.client.get_execution("x")
    assert state.run.status == "COMPLETED"
    assert state.step("d").preserved_from_run_number == 0
    assert (await rig.client.get_execution("x", run_number=0)).steps == archived.steps
    assert await broken(rig.db) == {}


async def test_a_rerun_keeps_what_an_operator_completed_or_skipped(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.client.complete_step("x", "a", skip=True, reason="not needed")
    await rig.work(fail=["b"])
    await rig.client.rerun("x")
    step = await rig.client.get_step("x", "a")
    assert (step.resolution, step.preserved_from_run_number) == ("SKIPPED_BY_OPERATOR", 0)
    assert step.attempts[0].reason == "not needed"
    assert (await rig.lease_one("b")).upstream_skipped == ("a",)


async def test_a_skipped_step_has_null_and_is_named_to_what_depends_on_it(rig: Rig) -> None:
    await rig.start("x", FAN_IN)
    answer = await rig.client.complete_step("x", "a", skip=True)
    assert (answer.step.status, answer.step.resolution) == ("COMPLETED", "SKIPPED_BY_OPERATOR")
    await rig.complete(await rig.lease_one("b"), result=None)
    task = await rig.lease_one("c")
    assert task.upstream == {"a": None, "b": "b"}
    assert task.upstream_skipped == ("a",)
    assert await rig.db.fetchval(
        "SELECT result::text FROM zart.steps WHERE resolution = 'skipped_by_operator'"
    ) == json.dumps(None)


async def test_an_operators_attempts_do_not_count(rig: Rig) -> None:
    await rig.start("x", {"a": (), "b": ()}, retry=zart.Retry(max_attempts=2, initial_backoff=0))
    await rig.client.fail_step("x", "a", "no")
    assert (await rig.client.retry_step("x", "a")).step.max_attempts == 2
    assert (await rig.lease_one("a")).attempt == 2


@pytest.mark.parametrize("how", ["complete", "fail"])
@pytest.mark.parametrize("is_fenced", [True, False])
async def test_what_is_in_doubt_is_resolved(rig: Rig, how: str, *, is_fenced: bool) -> None:
    await rig.start("x", {"a": (), "b": ("a",)}, if_in_doubt=zart.IfInDoubt.STOP)
    task = await rig.lease_one("a")
    if not is_fenced:
        await rig.report(zart.Outcome(task.task_id, task.lease_token, zart.Lost()))
        assert (await rig.client.get_step("x", "a")).in_doubt
    if how == "complete":
        answer = await rig.client.complete_step("x", "a", 1, fence=is_fenced)
    else:
        answer = await rig.client.fail_step("x", "a", "no", fence=is_fenced)
    assert answer.run_status == ("FAILED" if how == "fail" else "RUNNING")
    assert not answer.step.in_doubt
    assert answer.step.attempt == 2
    assert (await rig.complete(task)) == ["LEASE_LOST"]
    (row,) = await rig.db.fetch("SELECT * FROM zart_in_doubt")
    assert row["ended_as"] == ("abandoned" if is_fenced else "lost")
    assert row["finding"] is None
    operation = (await rig.client.list_operations(execution_id="x"))[0]
    assert str(row["resolved_by_operation_id"]) == operation.operation_id
    assert row["late_status"] == "completed"  # which is the best evidence there is
    if how == "fail":
        assert (await rig.client.get_execution("x")).run.error == "a: no"
        assert (await rig.client.complete_step("x", "a", 1)).run_status == "RUNNING"
    await rig.work()
    assert await rig.run_status() == "COMPLETED"
    assert await broken(rig.db) == {}


async def test_a_receipt_says_nothing_of_what_was_ended_by_hand(rig: Rig) -> None:
    rule = await rig.client.pause(task_name="t")
    await rig.start("x", {"a": (), "b": (), "c": ()})
    await rig.client.complete_step("x", "a", 1)
    await rig.client.fail_step("x", "b", "no")
    receipt = await rig.client.verify_pause_rule(rule.rule_id)
    assert receipt.clean
    assert receipt.checked_attempts == 0


async def test_what_was_ended_by_hand_is_held_no_longer(rig: Rig) -> None:
    """The time that a rule held a step ends there, and what was dead was not held."""
    await rig.start("x", {"a": (), "b": (), "c": ("a",)})
    await rig.work(fail=["b"])
    rule = await rig.client.pause(task_name="t")
    await rig.client.complete_step("x", "b", 1)
    await rig.start("y", {"a": (), "b": ()})
    await rig.client.complete_step("y", "a", 1)
    assert (await rig.client.list_rule_holds("x")).holds == ()
    holds = {hold.step_name: hold for hold in (await rig.client.list_rule_holds("y")).holds}
    assert holds["b"].held_until is None
    step = await rig.client.get_step("y", "a")
    assert holds["a"].held_until == step.completed_at
    counted = await rig.client.get_pause_rule(rule.rule_id)
    assert counted.paused_steps == 1


async def test_what_was_dead_is_listed_by_its_error_now_or_no_longer(rig: Rig) -> None:
    await rig.start("x", {"a": (), "b": ()}, if_in_doubt=zart.IfInDoubt.STOP)
    task = await rig.lease_one("a")
    await rig.report(zart.Outcome(task.task_id, task.lease_token, zart.Lost()))
    await rig.client.fail_step("x", "a", "no such address")
    await rig.client.fail_step("x", "b", "no such address")

    async def types() -> list[str]:
        rows = await rig.db.fetch(
            "SELECT type FROM zart.dead_steps JOIN zart.error_groups USING (group_key)"
        )
        return [row["type"] for row in rows]

    async def are_told() -> bool:
        return await types() == ["FailedByOperator"] * 2

    await eventually(are_told)
    await rig.client.complete_step("x", "a", 1)
    await rig.client.complete_step("x", "b", 1)
    assert await rig.db.fetchval("SELECT count(*) FROM zart.dead_steps") == 0
    assert await rig.db.fetchval("SELECT dead_listed FROM zart.runs") == 0
    assert await rig.run_status() == "COMPLETED"
