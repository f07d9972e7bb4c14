"""Eager dispatch of steps that waited for several: results that other reports brought are read."""

from __future__ import annotations

import pytest
from engine.test_eager_dispatch import report, wish
from rig import DIAMOND, Rig


async def test_a_join_is_leased_where_all_that_it_waits_for_is_at_hand(rig: Rig) -> None:
    await rig.start("x", DIAMOND)
    b, c = (await report(rig, await rig.lease_one("a"))).tasks
    (join,) = (await report(rig, b, c)).tasks

    assert join.step_name == "d"
    assert dict(join.upstream_json) == {"b": '"b"', "c": '"c"'}


async def test_what_other_reports_brought_for_a_join_is_read(rig: Rig) -> None:
    await rig.start("x", DIAMOND)
    await rig.complete(await rig.lease_one("a"))
    b, c = await rig.lease()
    first = await report(rig, b)
    (join,) = (await report(rig, c)).tasks

    assert list(first.tasks) == []
    assert (join.step_name, join.attempt, join.max_attempts) == ("d", 1, 3)
    assert dict(join.upstream_json) == {"b": '"b"', "c": '"c"'}
    assert await rig.statuses() == {
        "a": "COMPLETED", "b": "COMPLETED", "c": "COMPLETED", "d": "RUNNING"
    }  # fmt: skip


@pytest.mark.parametrize("b", ["x" * 9_000, None], ids=["long", "skipped"])
async def test_a_join_whose_other_results_take_more_than_a_look_is_queued(
    rig: Rig, b: str | None
) -> None:
    await rig.start("x", DIAMOND)
    await rig.complete(await rig.lease_one("a"))
    tasks = {task.step_name: task for task in await rig.lease()}
    if b is None:
        await rig.client.complete_step("x", "b", skip=True, fence=True)
    else:
        await rig.complete(tasks["b"], result=b)
    response = await report(rig, tasks["c"])
    (task,) = await rig.lease()

    assert list(response.tasks) == []
    assert (task.step_name, task.upstream["c"]) == ("d", "c")


async def test_a_join_of_very_many_is_queued(rig: Rig) -> None:
    many = {f"s{n}": () for n in range(18)}
    await rig.start("x", {**many, "join": tuple(many)})
    *others, last = await rig.lease()
    await rig.complete(*others)
    response = await report(rig, last)

    assert list(response.tasks) == []
    assert (await rig.statuses())["join"] == "SCHEDULED"


async def test_results_are_read_for_no_more_than_may_be_leased(rig: Rig) -> None:
    await rig.start("x", {"a": (), "b": (), **{f"c{n}": ("a", "b") for n in range(3)}})
    a, b = await rig.lease()
    await rig.complete(a)
    response = await report(rig, b, lease_next=wish(max_tasks=2))

    assert len(response.tasks) == 2
    assert len(await rig.lease()) == 1


async def test_a_join_of_a_rerun_has_what_was_preserved(rig: Rig) -> None:
    await rig.start("x", DIAMOND)
    await rig.work()
    await rig.client.rerun("x", force_rerun=["c", "d"])
    (join,) = (await report(rig, await rig.lease_one("c"))).tasks

    assert join.step_name == "d"
    assert set(join.upstream_json) == {"b", "c"}
