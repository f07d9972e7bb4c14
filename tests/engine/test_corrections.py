"""Inputs that operators correct: which one a step runs with, by which key, and for how long."""

from __future__ import annotations

import re
from typing import Any

import pytest
from engine.test_eager_dispatch import report
from rig import CHAIN, DIAMOND, QUICK, Rig

import zart
from zart import errors
from zart.models import LeasedTask

LARGE = "x" * 100_000


def told(task: LeasedTask) -> tuple[Any, str]:
    """Return what a handler is told of its input."""
    return task.input, task.idempotency_key


async def start(rig: Rig, **inputs: Any) -> None:
    """Start a chain whose steps have these inputs, and 1."""
    steps = [
        zart.StepSpec(name, deps, input=inputs.get(name, 1), retry=QUICK)
        for name, deps in (("a", ()), ("b", ("a",)), ("c", ("b",)))
    ]
    await rig.client.start("t", execution_id="x", steps=steps)


async def test_a_corrected_input_is_that_of_the_step_from_then_on(rig: Rig) -> None:
    await start(rig)
    await rig.work(fail=["b"])
    retried = await rig.client.retry_step("x", "b", input={"card": 2}, reason="wrong card")
    assert retried.step.input_corrections == 1

    task = await rig.lease_one("b")
    assert told(task) == ({"card": 2}, "x:run:0/b/2")
    step = await rig.client.get_step("x", "b")
    assert (step.input, step.input_corrections, step.input_omitted) == ({"card": 2}, 1, False)
    await rig.fail(task)

    assert (await rig.client.retry_step("x", "b", input=[3])).step.input_corrections == 2
    task = await rig.lease_one("b")
    assert told(task) == ([3], "x:run:0/b/3")
    await rig.complete(task)
    assert told(await rig.lease_one("c")) == (1, "")

    state = await rig.client.get_execution("x")
    assert [s.input for s in state.steps] == [1, [3], 1]
    stored = await rig.db.fetch("SELECT * FROM zart_step_inputs ORDER BY correction")
    assert [(r["run_id"], r["step_name"], r["correction"], r["input_json"]) for r in stored] == [
        ("x:run:0", "b", 1, '{"card":2}'),
        ("x:run:0", "b", 2, "[3]"),
    ]


async def test_it_stays_through_every_way_back_into_the_queue(rig: Rig) -> None:
    """Backoff, a pause, a lease given back, one that is lost, a retry without an input."""
    await start(rig)
    await rig.work(fail=["a"])
    rule = await rig.client.pause(task_name="t")
    retried = await rig.client.retry_step("x", "a", input=2, max_attempts=9)
    assert retried.step.status == "PAUSED"
    await rig.client.resume(rule_id=rule.rule_id)
    corrected = 2, "x:run:0/a/2"

    task = await rig.lease_one("a")
    assert told(task) == corrected
    await rig.fail(task, retryable=True)
    task = await rig.lease_one("a")
    assert told(task) == corrected
    await rig.report(zart.Outcome(task.task_id, task.lease_token, zart.Released()))
    task = await rig.lease_one("a", lease_duration=1)
    assert told(task) == corrected
    task = await rig.lease_one("a")  # once it is lost
    assert told(task) == corrected
    rule = await rig.client.pause(execution_id="x")
    await rig.fail(task, retryable=True)
    assert (await rig.client.get_step("x", "a")).status == "PAUSED"
    await rig.client.resume(rule_id=rule.rule_id)
    task = await rig.lease_one("a")
    assert told(task) == corrected
    await rig.fail(task)
    await rig.client.retry_step("x", "a")
    assert told(await rig.lease_one("a")) == corrected


async def test_a_claim_past_a_settling_rule_takes_it_along(rig: Rig) -> None:
    await start(rig)
    await rig.work(fail=["a"])
    await rig.client.retry_step("x", "a", input=2)
    await rig.start("y", {"z": ()})
    async with rig.locked("SELECT FROM zart.queue WHERE step_name = 'z' FOR UPDATE"):
        rule = await rig.client.pause(task_name="t", step_pattern="z")
        assert told(await rig.lease_one("a")) == (2, "x:run:0/a/2")
        assert await rig.db.fetchval("SELECT count(*) FROM zart.pause_work WHERE work = 'settle'")
    await rig.client.resume(rule_id=rule.rule_id)


async def test_an_input_that_says_the_same_corrects_nothing(rig: Rig) -> None:
    await start(rig, a={"n": 1, "to": [1.0]})
    await rig.work(fail=["a"])
    same = zart.JsonText('{ "to": [1], "n": 1.0 }')
    assert (await rig.client.retry_step("x", "a", input=same)).step.input_corrections == 0
    task = await rig.lease_one("a")
    assert told(task) == ({"n": 1, "to": [1.0]}, "")
    await rig.fail(task)
    await rig.client.retry_step("x", "a", input=2)
    await rig.work(fail=["a"])
    assert (await rig.client.retry_step("x", "a", input=2)).step.input_corrections == 1


async def test_an_input_may_be_null_and_a_step_may_have_had_none(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    await rig.work(fail=["a"])
    assert (await rig.client.retry_step("x", "a", input=None)).step.input_corrections == 1
    task = (await rig.lease())[0]
    assert told(task) == (None, "x:run:0/a/2")


async def test_a_rerun_keeps_corrected_inputs_and_a_restart_drops_them(rig: Rig) -> None:
    await start(rig)
    await rig.work(fail=["b"])
    await rig.client.retry_step("x", "b", input=2)
    await rig.work(fail=["b"])
    await rig.client.retry_step("x", "b", input=LARGE)
    await rig.work()

    again = await rig.client.rerun("x", force_rerun=["c"])
    assert again.preserved == ("a", "b")
    kept = await rig.client.get_step("x", "b")
    assert (kept.input, kept.preserved_from_run_number) == (LARGE, 0)
    await rig.work()

    await rig.client.rerun("x", force_rerun=["a"], include_downstream=True)
    assert told(await rig.lease_one("a")) == (1, "")
    await rig.complete(rig.leased["x", "a"])
    task = await rig.lease_one("b")
    assert told(task) == (LARGE, "x:run:2/b/2")
    await rig.fail(task)
    retried = await rig.client.retry_step("x", "b", input=3)
    assert retried.step.input_corrections == 2
    assert told(await rig.lease_one("b")) == (3, "x:run:2/b/3")

    await rig.client.restart("x")
    await rig.complete(await rig.lease_one("a"))
    assert told(await rig.lease_one("b")) == (1, "")
    assert (await rig.client.get_step("x", "b", run_number=2)).input == 3


async def test_another_input_makes_its_step_run_again(rig: Rig) -> None:
    await start(rig)
    await rig.work()
    plan = await rig.client.rerun("x", inputs={"a": 2, "c": 1}, validate_only=True)
    assert plan.effective_rerun == ("a",)
    assert {s.preserved_step for s in plan.potentially_stale} == {"b", "c"}
    assert not any(s.depends_on_payload for s in plan.potentially_stale)
    with pytest.raises(errors.PlanChanged, match="request"):
        await rig.client.rerun("x", inputs={"a": 3, "c": 1}, plan_token=plan.plan_token)

    await rig.client.rerun("x", inputs={"a": 2, "c": 1}, plan_token=plan.plan_token)
    assert told(await rig.lease_one("a")) == (2, "x:run:1/a/2")
    operation = (await rig.client.list_operations(execution_id="x", kind="RERUN"))[0]
    assert operation.made is not None
    assert operation.made.corrected_input_steps == ("a",)


async def test_an_input_equal_to_the_present_one_reruns_nothing(rig: Rig) -> None:
    await start(rig)
    await rig.work(fail=["a"])
    await rig.client.retry_step("x", "a", input=2)
    await rig.work()
    with pytest.raises(errors.NothingToRerun):
        await rig.client.rerun("x", inputs={"a": 2, "b": 1})
    again = await rig.client.rerun("x", inputs={"a": 2, "b": 1}, force_rerun=["a"])
    assert again.effective_rerun == ("a",)
    assert told(await rig.lease_one("a")) == (2, "x:run:1/a/2")
    operation = (await rig.client.list_operations(execution_id="x", kind="RERUN"))[0]
    assert operation.made is not None
    assert operation.made.corrected_input_steps == ()


@pytest.mark.parametrize("graph", [CHAIN, DIAMOND])
async def test_a_step_that_becomes_ready_later_has_its_corrected_input(
    rig: Rig, graph: dict[str, tuple[str, ...]]
) -> None:
    """Not the one at hand, though the report might lease it at once."""
    await rig.start("x", graph)
    last = list(graph)[-1]
    await rig.client.rerun("x", inputs={name: name for name in graph if name != "a"})
    response = await report(rig, *await rig.lease())
    assert not response.tasks
    others = await rig.lease()
    while others:
        for task in others:
            assert told(task) == (task.step_name, f"x:run:1/{task.step_name}/2")
        await rig.complete(*others)
        others = await rig.lease()
    assert (await rig.client.get_step("x", last)).status == "COMPLETED"


async def test_inputs_that_cannot_be_right_are_refused(rig: Rig) -> None:
    await start(rig)
    await rig.work()
    for inputs, preserve, field in (
        ({"a": 2}, ["a"], "inputs[0].step_name"),
        ({"a": 1}, ["a"], "inputs[0].step_name"),
        ({"b": 2, "z": 2}, (), "inputs[1].step_name"),
        ({"b": zart.JsonText('"\\u0000"')}, (), "inputs[0].input_json"),
    ):
        with pytest.raises(errors.InvalidField, match=re.escape(field)):
            await rig.client.rerun("x", inputs=inputs, preserve=preserve)
    with pytest.raises(errors.PayloadTooLarge):
        await rig.client.rerun("x", inputs={"a": "x" * (1 << 20)})
    assert len(await rig.client.list_runs("x")) == 1


async def test_another_payload_reruns_all_but_what_is_preserved(rig: Rig) -> None:
    await rig.start("x", DIAMOND, payload={"user": 1})
    await rig.work()
    plan = await rig.client.rerun("x", payload={"user": 2}, preserve=["a", "c"], validate_only=True)
    assert plan.effective_rerun == ("b", "d")
    stale = {s.preserved_step: s for s in plan.potentially_stale}
    assert set(stale) == {"a", "c"}
    assert all(s.depends_on_payload and s.possibly_depends_on == () for s in stale.values())
    with pytest.raises(errors.PlanChanged, match="request"):
        await rig.client.rerun("x", preserve=["a", "c"], plan_token=plan.plan_token)
    await rig.client.rerun(
        "x", payload={"user": 2}, preserve=["a", "c"], plan_token=plan.plan_token
    )
    (task,) = await rig.lease()
    assert (task.step_name, task.payload) == ("b", {"user": 2})
    await rig.complete(task)
    await rig.work()

    with pytest.raises(errors.NothingToRerun):
        await rig.client.rerun("x", payload=zart.JsonText('{"user": 2.0}'))
    with pytest.raises(errors.NothingToRerun):
        await rig.client.rerun("x", payload=0, preserve=list(DIAMOND))
    none = await rig.client.rerun("x", payload=None)
    assert none.effective_rerun == tuple(DIAMOND)
    assert (await rig.lease())[0].payload is None


async def test_a_long_payload_is_compared_where_it_stands(rig: Rig) -> None:
    await rig.start("x", {"a": ()}, payload=[LARGE])
    await rig.work()
    await rig.client.rerun("x", force_rerun=["a"])  # it refers to the payload of the first run
    await rig.work()
    with pytest.raises(errors.NothingToRerun):
        await rig.client.rerun("x", payload=[LARGE])


async def test_a_run_without_a_payload_may_get_one(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    await rig.work()
    assert (await rig.client.rerun("x", payload=7)).effective_rerun == ("a",)
    assert (await rig.lease())[0].payload == 7


async def test_what_does_not_fit_into_one_answer_is_left_out_and_read_by_itself(rig: Rig) -> None:
    names = [f"s{n}" for n in range(9)]
    await rig.start("x", dict.fromkeys(names, ()))
    large = "y" * 700_000
    await rig.client.rerun("x", inputs=dict.fromkeys(names, large))

    state = await rig.client.get_execution("x")
    assert [s.input_omitted for s in state.steps] == [False] * 5 + [True] * 4
    assert [s.input for s in state.steps] == [large] * 5 + [None] * 4
    assert (await rig.client.get_step("x", "s8")).input == large
    tasks = [*await rig.lease(), *await rig.lease()]
    assert [told(t) for t in tasks] == [(large, f"x:run:1/{name}/2") for name in names]


async def test_a_plan_of_a_retry_binds_the_input_and_keeps_nothing(rig: Rig) -> None:
    await start(rig)
    await rig.work(fail=["a"])
    plan = await rig.client.retry_step("x", "a", input=2, validate_only=True)
    assert (plan.planned, plan.step.input_corrections) == (True, 1)
    assert not await rig.db.fetch("SELECT FROM zart.step_inputs")
    with pytest.raises(errors.PlanChanged, match="request"):
        await rig.client.retry_step("x", "a", input=3, plan_token=plan.plan_token)
    await rig.client.retry_step("x", "a", input=2, plan_token=plan.plan_token)
    assert told(await rig.lease_one("a")) == (2, "x:run:0/a/2")
    operation = (await rig.client.list_operations(execution_id="x", kind="RETRY_STEP"))[0]
    assert operation.made is not None
    assert operation.made.corrected_input_steps == ("a",)
