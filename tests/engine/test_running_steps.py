"""What a run does by itself: order, results, retries, its end."""

from __future__ import annotations

from rig import CHAIN, DIAMOND, Rig

import zart
from zart.models import StepError


async def test_steps_run_in_dependency_order_and_independent_ones_together(rig: Rig) -> None:
    await rig.start("x", DIAMOND)

    order = []
    while found := await rig.lease():
        order.append(sorted(t.step_name for t in found))
        await rig.complete(*found)

    assert order == [["a"], ["b", "c"], ["d"]]
    assert await rig.run_status() == "COMPLETED"


async def test_results_payload_and_inputs_reach_the_steps(rig: Rig) -> None:
    steps = [
        zart.StepSpec("a", input={"n": 1}),
        zart.StepSpec("b", ("a",), handler="other", input=None),
    ]
    await rig.client.start("t", {"user": 7}, execution_id="x", steps=steps)

    (first,) = await rig.lease()
    await rig.complete(first, result={"big": 2**70, "text": "ünï"})
    (second,) = await rig.lease()

    assert (first.payload, first.input, first.upstream) == ({"user": 7}, {"n": 1}, {})
    assert (second.handler, second.input) == ("other", None)
    assert second.upstream == {"a": {"big": 2**70, "text": "ünï"}}


async def test_the_result_is_that_of_the_only_last_step_or_of_all_by_name(rig: Rig) -> None:
    await rig.start("one", CHAIN)
    await rig.start("two", {"a": (), "b": ("a",), "c": ("a",)})
    await rig.work()

    assert (await rig.client.get_execution("one")).run.result == "c"
    assert (await rig.client.get_execution("two")).run.result == {"b": "b", "c": "c"}


async def test_a_failed_attempt_is_repeated_with_backoff_until_the_budget_is_used(
    rig: Rig,
) -> None:
    retry = zart.Retry(max_attempts=2, initial_backoff=3600, max_backoff=3600)
    await rig.start("x", {"a": ()}, retry=retry)

    first = await rig.lease_one("a")
    await rig.fail(first, retryable=True)
    step = await rig.client.get_step("x", "a")
    assert step.status == "SCHEDULED"
    assert step.not_before is not None
    assert step.waiting_on.startswith("backoff until")
    assert await rig.lease() == []

    await rig.db.execute("UPDATE zart.queue SET not_before = now()")
    second = await rig.lease_one("a")
    assert second.attempt == 2
    assert second.lease_token > first.lease_token
    await rig.fail(second, retryable=True, message="again")

    state = await rig.client.get_execution("x")
    assert state.run.status == "FAILED"
    assert state.run.error == "a: again"
    assert [a.status for a in state.step("a").attempts] == ["FAILED", "FAILED"]
    assert state.step("a").retryable


async def test_retry_after_goes_before_the_policy(rig: Rig) -> None:
    await rig.start("x", {"a": ()}, retry=zart.Retry(initial_backoff=3600, max_backoff=3600))
    task = await rig.lease_one("a")

    ending = zart.Failed(StepError("E", "soon", ""), retry_after=0.05)
    await rig.report(zart.Outcome(task.task_id, task.lease_token, ending))

    assert (await rig.lease_one("a")).attempt == 2


async def test_an_error_that_no_repeat_cures_kills_the_step_at_once(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.fail(await rig.lease_one("a"), retryable=False)

    assert await rig.statuses() == {"a": "DEAD", "b": "PENDING", "c": "PENDING"}
    assert await rig.run_status() == "FAILED"
    assert not (await rig.client.get_step("x", "a")).retryable


async def test_a_run_fails_only_when_nothing_else_can_move(rig: Rig) -> None:
    await rig.start("x", {"a": (), "b": (), "c": ("b",)})
    tasks = {t.step_name: t for t in await rig.lease()}

    await rig.fail(tasks["a"])
    assert await rig.run_status() == "RUNNING"
    await rig.complete(tasks["b"])
    assert await rig.run_status() == "RUNNING"
    await rig.work()

    assert await rig.run_status() == "FAILED"
    assert await rig.statuses() == {"a": "DEAD", "b": "COMPLETED", "c": "COMPLETED"}


async def test_a_paused_step_keeps_a_run_with_a_dead_step_from_failing(rig: Rig) -> None:
    await rig.client.pause(step_pattern="b")
    await rig.start("x", {"a": (), "b": ()})
    await rig.fail(await rig.lease_one("a"))

    assert await rig.run_status() == "RUNNING"


async def test_a_thousand_steps_fan_out_and_in(rig: Rig) -> None:
    names = [f"n{n}" for n in range(500)]
    await rig.start("x", {"a": (), **dict.fromkeys(names, ("a",)), "z": tuple(names)})
    await rig.work()

    state = await rig.client.get_execution("x")
    assert state.run.status == "COMPLETED"
    assert len(state.steps) == 502
