"""Rerun creates the next run and carries results over."""

from __future__ import annotations

import asyncio

import pytest
from rig import CHAIN, DIAMOND, Rig

from zart import errors


async def test_failed_steps_run_again_and_completed_ones_are_preserved(rig: Rig) -> None:
    await rig.dead("x", DIAMOND, step="b")
    answer = await rig.client.rerun("x")

    assert answer.effective_rerun == ("b", "d")
    assert answer.preserved == ("a", "c")
    assert answer.potentially_stale == ()
    assert await rig.statuses() == {
        "a": "COMPLETED",
        "b": "SCHEDULED",
        "c": "COMPLETED",
        "d": "PENDING",
    }
    (task,) = await rig.lease()
    assert (task.step_name, task.upstream) == ("b", {"a": "a"})
    await rig.complete(task)
    await rig.work()
    assert await rig.run_status() == "COMPLETED"


async def test_a_preserved_step_reads_as_its_source(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.work()
    source = await rig.client.get_step("x", "a")
    await rig.client.rerun("x", force_rerun=["c"])
    await rig.client.rerun("x", force_rerun=["c"])
    copy = await rig.client.get_step("x", "a")

    assert copy.preserved_from_run_number == 0
    assert (copy.result, copy.attempts, copy.attempt) == (source.result, source.attempts, 1)
    assert (copy.started_at, copy.completed_at) == (source.started_at, source.completed_at)


async def test_exhausted_steps_are_never_preserved(rig: Rig) -> None:
    await rig.dead("x", CHAIN, step="b")
    answer = await rig.client.rerun("x", preserve=["b"])

    assert "b" in answer.effective_rerun


async def test_preserved_steps_downstream_of_a_rerun_may_be_stale(rig: Rig) -> None:
    await rig.start("x", DIAMOND)
    await rig.work()
    answer = await rig.client.rerun("x", force_rerun=["a"])

    assert answer.effective_rerun == ("a",)
    stale = {s.preserved_step: s.possibly_depends_on for s in answer.potentially_stale}
    assert stale == {"b": ("a",), "c": ("a",), "d": ("a",)}

    await rig.work()
    assert await rig.run_status() == "COMPLETED"
    again = await rig.client.rerun("x", force_rerun=["b"], validate_only=True)
    stale = {s.preserved_step: s.possibly_depends_on for s in again.potentially_stale}
    assert stale == {"d": ("b",)}


async def test_include_downstream_reruns_dependants_but_for_the_preserved(rig: Rig) -> None:
    await rig.start("x", DIAMOND)
    await rig.work()
    answer = await rig.client.rerun("x", force_rerun=["a"], preserve=["c"], include_downstream=True)

    assert answer.effective_rerun == ("a", "b", "d")
    assert answer.preserved == ("c",)
    await rig.work()
    assert await rig.run_status() == "COMPLETED"


async def test_rerunning_some_of_a_parallel_group_does_not_hang_the_run(rig: Rig) -> None:
    members = {f"m{n}": ("a",) for n in range(5)}
    await rig.start("x", {"a": (), **members, "z": tuple(members)})
    await rig.work()
    await rig.client.rerun("x", force_rerun=["m1", "m3"], include_downstream=True)
    await rig.work()

    state = await rig.client.get_execution("x")
    assert state.run.status == "COMPLETED"
    assert state.step("m0").preserved_from_run_number == 0
    assert state.step("m1").preserved_from_run_number is None


async def test_validate_only_plans_and_changes_nothing(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.work()
    plan = await rig.client.rerun("x", force_rerun=["b"], validate_only=True)

    assert (plan.new_run_id, plan.new_run_number) == ("", 1)
    assert plan.plan_token
    assert len(await rig.client.list_runs("x")) == 1
    assert len(await rig.client.list_operations(execution_id="x")) == 1

    done = await rig.client.rerun("x", force_rerun=["b"], plan_token=plan.plan_token)
    assert done.effective_rerun == plan.effective_rerun
    with pytest.raises(errors.PlanChanged):
        await rig.client.rerun("x", force_rerun=["b"], plan_token=plan.plan_token)


async def test_a_plan_of_a_run_that_went_on_is_refused(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    plan = await rig.client.rerun("x", validate_only=True)
    await rig.complete(await rig.lease_one("a"))

    with pytest.raises(errors.PlanChanged):
        await rig.client.rerun("x", plan_token=plan.plan_token)


async def test_the_plan_is_made_under_the_lock_with_what_was_recorded_by_then(rig: Rig) -> None:
    """A report and a rerun wait for the same run: whoever is first, they agree on it."""
    await rig.start("x", CHAIN)
    task = await rig.lease_one("a")
    async with rig.locked("SELECT FROM zart.runs FOR NO KEY UPDATE"):
        reporting = asyncio.create_task(rig.complete(task))
        await rig.until_waiting(1)
        rerunning = asyncio.create_task(rig.client.rerun("x"))
        await rig.until_waiting(2)
    (status,) = await reporting
    answer = await rerunning

    assert answer.preserved == (("a",) if status == "RECORDED" else ())
    assert (await rig.client.get_step("x", "a")).result == ("a" if status == "RECORDED" else None)


async def test_nothing_to_rerun(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.work()
    with pytest.raises(errors.NothingToRerun):
        await rig.client.rerun("x")
    assert len(await rig.client.list_runs("x")) == 1


@pytest.mark.parametrize(
    ("lists", "field"),
    [
        ({"force_rerun": ["nope"]}, "force_rerun"),
        ({"preserve": ["nope"]}, "preserve"),
        ({"force_rerun": ["a"], "preserve": ["a"]}, "preserve"),
    ],
)
async def test_unknown_and_contradictory_steps_are_refused(
    rig: Rig, lists: dict[str, list[str]], field: str
) -> None:
    await rig.start("x", CHAIN)
    with pytest.raises(errors.InvalidField) as refused:
        await rig.client.rerun("x", **lists)  # type: ignore[arg-type]
    assert any(name.startswith(field) for name in refused.value.fields)


async def test_a_rerun_keeps_the_source_runs_graph_and_payload(rig: Rig) -> None:
    import zart

    await rig.client.register_task("reg", [zart.StepSpec("a", retry=zart.Retry(1))])
    await rig.client.start("reg", {"n": 1}, execution_id="r")
    await rig.work(task="reg", fail=["a"])
    await rig.client.register_task("reg", [zart.StepSpec("other")])
    await rig.client.rerun("r")
    state = await rig.client.get_execution("r")

    assert [s.step_name for s in state.steps] == ["a"]
    assert (state.run.definition_version, state.run.payload) == (1, {"n": 1})
    assert (state.run.trigger, state.run.source_run_number) == ("SELECTIVE_RERUN", 0)
