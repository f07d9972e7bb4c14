"""A plan says what the deed would do and does nothing; applied, it is done as planned or not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import pytest
from rig import CHAIN, DIAMOND, Rig, eventually
from stored import everything

import zart
from zart import errors
from zart_server.domain.plans import PlanToken

Do: TypeAlias = Callable[..., Awaitable[Any]]
DEEDS = ["retry_step", "complete_step", "fail_step", "restart", "rerun", "cancel_execution"]
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "retry_step": ("x", "b"),
    "complete_step": ("x", "b", "by hand"),
    "fail_step": ("x", "c", "by hand"),
}


async def prepared(rig: Rig, deed: str) -> Do:
    """Return a call of a client's method, about an execution of which it can be done."""
    if deed == "cancel_execution":
        await rig.start("x", DIAMOND)
        await rig.complete(await rig.lease_one("a"))
        await rig.lease_one("b")
    else:
        await rig.dead("x", CHAIN)
    method: Do = getattr(rig.client, deed)

    async def do(**options: Any) -> Any:
        return await method(*ARGUMENTS.get(deed, ("x",)), **options)

    return do


async def changed(call: Awaitable[Any]) -> str:
    """Return what has changed since the plan."""
    with pytest.raises(errors.PlanChanged) as refused:
        await call
    return refused.value.metadata["changed"]


@pytest.mark.parametrize("deed", DEEDS)
async def test_a_plan_is_what_the_deed_answers_and_changes_nothing(rig: Rig, deed: str) -> None:
    do = await prepared(rig, deed)
    before = await everything(rig.db, but="operation_attempts")
    plan = await do(validate_only=True, request_id="r1", reason="in time")

    assert await everything(rig.db, but="operation_attempts") == before
    assert plan.planned
    assert plan.plan_token
    assert not plan.replayed

    done = await do(plan_token=plan.plan_token, request_id="r1", reason="in time")
    assert (done.planned, done.plan_token, done.replayed) == (False, "", False)
    assert comparable(done) == comparable(plan)


def comparable(answer: Any) -> dict[str, Any]:
    """Return what a plan and its deed have in common: not times, and no names of what is made."""
    found = dataclasses.asdict(answer)
    for name in ("planned", "plan_token", "new_run_id", "new_task_id"):
        found.pop(name, None)
    for part in ("run", "step"):
        if part in found:
            found[part] = {k: v for k, v in found[part].items() if not isinstance(v, datetime)}
            found[part].pop("task_id", None)
            found[part].pop("waiting_on", None)  # who has asked for it is noted now and then
            for attempt in found[part].get("attempts", ()):
                attempt["started_at"] = attempt["completed_at"] = None
    return found


async def test_a_plan_tells_nobody(rig: Rig) -> None:
    """What waits for tasks or for changes is not woken, as nothing is queued or changed."""
    await rig.dead("x", CHAIN)
    await rig.client.retry_step("x", "b", validate_only=True)

    assert await rig.lease(wait=0) == []
    assert await rig.run_status() == "FAILED"


@pytest.mark.parametrize("deed", DEEDS)
async def test_of_another_run(rig: Rig, deed: str) -> None:
    do = await prepared(rig, deed)
    plan = await do(validate_only=True)
    await rig.client.restart("x")

    names = (await changed(do(plan_token=plan.plan_token))).split(", ")
    assert names[0] == "run"
    assert (await rig.client.get_execution("x")).run.run_number == 1


@pytest.mark.parametrize("deed", DEEDS)
async def test_of_another_request(rig: Rig, deed: str) -> None:
    do = await prepared(rig, deed)
    plan = await do(validate_only=True, reason="to see")
    token = plan.plan_token
    others = {
        "retry_step": lambda: do(plan_token=token, max_attempts=7),
        "complete_step": lambda: do(plan_token=token, fence=True),
        "fail_step": lambda: do(plan_token=token, fence=True),
        "restart": lambda: do(plan_token=token, payload={"n": 1}),
        "rerun": lambda: do(plan_token=token, force_rerun=["a"]),
        "cancel_execution": lambda: do(plan_token=token, expected_run_number=0),
    }
    assert await changed(others[deed]()) == "request"
    other = rig.client.restart if deed != "restart" else rig.client.cancel_execution
    assert await changed(other("x", plan_token=token)) == "request"


@pytest.mark.parametrize("deed", DEEDS)
async def test_who_applies_it_and_why_is_not_bound_but_its_age_is(rig: Rig, deed: str) -> None:
    do = await prepared(rig, deed)
    plan = await do(validate_only=True, triggered_by="ann", reason="to see")
    token = PlanToken.of_text(plan.plan_token)
    old = token._replace(made_at=token.made_at - timedelta(minutes=61))

    assert await changed(do(plan_token=old.to_text())) == "time"
    recent = token._replace(made_at=token.made_at - timedelta(minutes=55))
    await do(plan_token=recent.to_text(), triggered_by="bob", reason="go", request_id="r")


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("text", ["none", "A", "AQ==", "é", "x" * 900])
async def test_what_is_no_token(rig: Rig, deed: str, text: str) -> None:
    method: Do = getattr(rig.client, deed)
    with pytest.raises(errors.InvalidField) as refused:
        await method(*ARGUMENTS.get(deed, ("x",)), plan_token=text)
    assert set(refused.value.fields) == {"plan_token"}


async def test_a_repeat_is_answered_before_its_token_is_judged(rig: Rig) -> None:
    await rig.dead("x", CHAIN)
    plan = await rig.client.restart("x", validate_only=True, request_id="r")
    again: dict[str, Any] = {"plan_token": plan.plan_token, "request_id": "r"}
    done = await rig.client.restart("x", **again)
    repeated = await rig.client.restart("x", **again)

    assert not done.replayed
    assert (repeated.replayed, repeated.new_run_id) == (True, "x:run:1")
    # The plan had the same request_id, and neither stored it nor was answered by it.
    fresh = await rig.client.restart("x", validate_only=True, request_id="r")
    assert (fresh.planned, fresh.replayed, fresh.new_run_number) == (True, False, 2)


async def test_a_step_that_died_again_is_another_decision(rig: Rig) -> None:
    await rig.dead("x", CHAIN)
    plan = await rig.client.retry_step("x", "b", validate_only=True)
    await rig.client.retry_step("x", "b")
    running = await rig.lease_one("b")

    assert await changed(rig.client.retry_step("x", "b", plan_token=plan.plan_token)) == (
        "step_status, attempt"
    )
    await rig.fail(running)
    assert await changed(rig.client.retry_step("x", "b", plan_token=plan.plan_token)) == "attempt"


async def test_whether_a_rule_withholds_the_step_is_decided(rig: Rig) -> None:
    await rig.dead("x", CHAIN)
    free = await rig.client.retry_step("x", "b", validate_only=True)
    paused = await rig.client.pause(task_name="t")

    assert free.step.status == "SCHEDULED"
    assert await changed(rig.client.retry_step("x", "b", plan_token=free.plan_token)) == "withheld"
    held = await rig.client.retry_step("x", "b", validate_only=True)
    assert (held.step.status, held.new_task_id) == ("PAUSED", "")
    # Another rule in place of the first: the step is withheld all the same.
    await rig.client.pause(step_pattern="b")
    await rig.client.resume(rule_id=paused.rule_id)
    done = await rig.client.retry_step("x", "b", plan_token=held.plan_token)
    assert done.step.status == "PAUSED"


@pytest.mark.parametrize("how", ["complete", "fail"])
async def test_it_is_so_too_of_what_is_ended_by_hand(rig: Rig, how: str) -> None:
    await rig.start("x", CHAIN)

    async def end(**options: Any) -> Any:
        if how == "fail":
            return await rig.client.fail_step("x", "b", "no", **options)
        return await rig.client.complete_step("x", "b", 1, **options)

    free = await end(validate_only=True)
    await rig.client.pause(task_name="t", step_pattern="b")
    assert await changed(end(plan_token=free.plan_token)) == "withheld"
    held = await end(validate_only=True)
    await end(plan_token=held.plan_token)


async def test_a_new_definition_is_another_decision_for_a_restart_only(rig: Rig) -> None:
    rig.registers = True
    await rig.dead("x", CHAIN)
    restart = await rig.client.restart("x", validate_only=True)
    rerun = await rig.client.rerun("x", validate_only=True)
    await rig.client.register_task("t", [zart.StepSpec("other")])

    assert await changed(rig.client.restart("x", plan_token=restart.plan_token)) == (
        "definition_version"
    )
    await rig.client.rerun("x", plan_token=rerun.plan_token)


async def test_what_a_rerun_keeps_is_decided(rig: Rig) -> None:
    await rig.start("x", DIAMOND)
    await rig.complete(await rig.lease_one("a"))
    plan = await rig.client.rerun("x", force_rerun=["a"], validate_only=True)
    await rig.complete(await rig.lease_one("b"))

    call = rig.client.rerun("x", force_rerun=["a"], plan_token=plan.plan_token)
    assert await changed(call) == "effective_rerun, preserved, potentially_stale"


async def test_progress_that_decides_nothing_leaves_a_plan_good(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    restart = await rig.client.restart("x", validate_only=True)
    cancel = await rig.client.cancel_execution("x", validate_only=True)
    await rig.complete(await rig.lease_one("a"))
    await rig.lease_one("b")
    assert restart.fenced_steps == ()

    done = await rig.client.restart("x", plan_token=restart.plan_token)
    assert [step.step_name for step in done.fenced_steps] == ["b"]
    assert await changed(rig.client.cancel_execution("x", plan_token=cancel.plan_token)) == "run"


async def test_what_the_deed_is_refused_for_the_plan_is_too(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    with pytest.raises(errors.StepNotDead):
        await rig.client.retry_step("x", "a", validate_only=True)
    with pytest.raises(errors.RunActive):
        await rig.client.restart("x", if_running="fail", validate_only=True)
    with pytest.raises(errors.ExecutionNotFound):
        await rig.client.cancel_execution("nobody", validate_only=True)
    await rig.work()
    with pytest.raises(errors.NothingToRerun):
        await rig.client.rerun("x", validate_only=True)


async def test_who_planned_what_is_on_record_and_not_as_done(rig: Rig) -> None:
    await rig.dead("x", CHAIN)
    rule = (await rig.client.pause(task_name="t")).rule_id
    plan: dict[str, Any] = {"validate_only": True, "reason": "to see"}
    await rig.client.retry_step("x", "b", **plan)
    await rig.client.restart("x", **plan)
    await rig.client.rerun("x", **plan)
    await rig.client.complete_step("x", "b", 1, **plan)
    await rig.client.fail_step("x", "c", "no", **plan)
    with pytest.raises(errors.RunFinished):
        await rig.client.cancel_execution("x", **plan)
    await rig.client.pause(task_name="t", **plan)
    await rig.client.update_pause_rule(rule, exempt=["x"], **plan)
    await rig.client.resume(rule_id=rule, **plan)

    async def kinds() -> dict[str, str]:
        rows = await rig.db.fetch("SELECT kind, status FROM zart.operation_attempts")
        return {row["kind"]: row["status"] for row in rows}

    by_hand = ("complete_step", "fail_step")
    others = ("retry_step", "restart", "rerun", "pause", "update_pause_rule", "resume")
    planned = (*by_hand, *others)
    expected = dict.fromkeys(planned, "planned") | {"cancel": "refused"}

    async def are_on_record() -> bool:
        return await kinds() == expected

    await eventually(are_on_record)
    assert "to see" not in {each.reason async for each in rig.client.list_operations()}
    assert {row[0] for row in await rig.db.fetch("SELECT reason FROM zart.operation_attempts")} == {
        "to see"
    }
