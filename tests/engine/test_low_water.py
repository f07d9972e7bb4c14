"""Claims go on from where the last one came to, and find all the same what stands before that."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rig import LONG, Rig, eventually

from zart.testing.server import ServerUnderTest
from zart_server.engine.dispatch.low_water import LowWater
from zart_server.store.claims import ClaimResult
from zart_server.store.due import Begin, DueLane


@pytest.fixture
async def marked(rig: Rig) -> Rig:
    """Six queued tasks, two more leased by a claim that got all it wanted; then one put back."""
    await rig.start("x", {f"s{n}": () for n in range(8)}, handler="h")  # one handler: one lane
    assert [task.step_name for task in await rig.lease(2)] == ["s0", "s1"]
    await rig.db.execute(
        "UPDATE zart.queue SET not_before = not_before - interval '1 hour' WHERE step_name = 's7'"
    )
    return rig


async def test_a_claim_that_finds_less_than_it_wants_looks_at_the_head_too(marked: Rig) -> None:
    names = [task.step_name for task in await marked.lease(6)]

    assert sorted(names) == ["s2", "s3", "s4", "s5", "s6", "s7"]


async def test_what_stands_before_the_mark_is_found_after_a_moment(marked: Rig) -> None:
    """However many claims get all they want behind it."""

    async def found() -> bool:
        (task,) = await marked.lease(1)
        if task.step_name == "s7":
            return True
        await marked.complete(task)
        await marked.start(f"more-{task.task_id}", {"s": ()}, handler="h")
        return False

    await eventually(found)


@pytest.fixture
async def resting(rig: Rig, zart_server: ServerUnderTest) -> Rig:
    """Twenty ready tasks, and claims that last looked in a lane where nothing is left.

    Two looks at all lanes have taken so long that others would have rested for over a minute.
    """
    await rig.start("x", {f"s{n}": () for n in range(20)})
    low_water = zart_server.running.runtime.dispatch.low_water
    now = await rig.db.fetchval("SELECT now()")
    look = ClaimResult([], {2**30: (now, 1)}, True, False, False, False, 3.5, now)
    for _ in range(2):
        low_water.claimed(["t"], [], Begin(), look, is_enough=False)
    return rig


async def test_a_call_that_does_not_wait_leases_all_that_is_ready(resting: Rig) -> None:
    assert len(await resting.lease(100)) == 20


async def test_a_call_that_waits_does_not_sleep_over_what_is_ready(resting: Rig) -> None:
    assert len(await resting.lease(100, wait=LONG)) == 20


async def test_a_claim_that_found_less_than_it_wants_looks_at_all_lanes_one_at_a_time() -> None:
    low_water = LowWater()
    now = datetime.now(UTC)
    look = ClaimResult([], {1: (now, 1)}, True, False, False, False, 60.0, now)
    assert low_water.rests(["t"], []) == 0
    for _ in range(2):
        assert low_water.take_look(["t"], [])
        low_water.claimed(["t"], [], Begin(), look, is_enough=True)

    assert not low_water.take_look(["t"], [])
    assert 0 < low_water.rests(["t"], []) <= 60

    nothing = replace(look, heads={}, seconds=60.0)
    low_water.claimed(["t"], [], Begin(), nothing, is_enough=False)
    assert low_water.rests(["t"], []) == 0  # nothing is there: it is not looked for again


async def test_where_hints_were_lost_all_looks_begin_at_the_heads_again() -> None:
    now = datetime.now(UTC)
    look = ClaimResult([], {1: (now, 1)}, True, False, False, False, 60.0, now)
    low_water = LowWater(timedelta(0))
    for _ in range(3):
        low_water.claimed(["t"], [], Begin(), look, is_enough=True)
    assert low_water.to_claim(["t"], []).is_only
    assert low_water.to_look(["t"]).since == now

    low_water.begin_anew()

    assert low_water.to_claim(["t"], []) == low_water.to_look(["t"])
    assert (low_water.to_look(["t"]).since, low_water.to_look(["t"]).cursors) == (None, {})
    low_water.claimed(["t"], [], Begin(), look, is_enough=True)  # by a look that was under way
    assert (low_water.to_look(["t"]).since, low_water.to_look(["t"]).cursors) == (None, {})


async def test_ten_thousand_lanes_are_put_back_for_all_who_ask_for_as_many_handlers() -> None:
    """Each handler was looked for among all that somebody asks for, and each mark set by itself."""
    now = datetime.now(UTC)
    before = now - timedelta(seconds=1)
    marks = {lane: (now, lane) for lane in range(10_000)}
    look = ClaimResult([], marks, True, False, False, False, 60.0, now)  # kept for as long
    mine, others = ([f"{whose}-{n}" for n in range(10_000)] for whose in ("h", "another"))
    low_water = LowWater()
    for handlers in (mine, mine, others, others):  # the first long look counts for nothing
        low_water.claimed(["t"], handlers, Begin(), look, is_enough=True)
    lanes = [DueLane(n, "t", mine[n], (before, n), 0.0) for n in range(10_000)]
    lanes += [DueLane(n, "other", mine[n], (before, -1), 0.0) for n in range(10_000)]

    begun = time.thread_time()
    low_water.put_back(lanes)
    took = time.thread_time() - begun

    assert low_water.to_claim(["t"], others).cursors == marks
    assert low_water.to_claim(["t"], mine).cursors == {n: (before, n) for n in range(10_000)}
    assert took < 0.2


async def test_of_names_without_end_those_used_last_are_kept() -> None:
    """They were kept for good: of a thousand calls for ten thousand names each, gigabytes."""
    now = datetime.now(UTC)
    mark = {1: (now, 1)}
    look = ClaimResult([], mark, True, False, False, False, 60.0, now)  # kept for as long
    low_water = LowWater()
    for _ in range(2):  # the first long look counts for nothing
        low_water.claimed(["t"], ["used"], Begin(), look, is_enough=True)
    for call in range(200):
        names = [f"{call}-{n}" for n in range(10_000)]
        for _ in range(2):
            low_water.claimed(names, ["h"], Begin(), look, is_enough=True)
        assert low_water.to_claim(["t"], ["used"]).cursors == mark

    assert len(low_water.task_names()) <= 100_000
    assert low_water.names_held <= 100_000
    assert low_water.to_claim(names, ["h"]).cursors == mark


async def test_more_names_than_are_kept_of_all_are_kept_of_one_call() -> None:
    low_water = LowWater()
    for call in range(3):
        low_water.found_any([f"{call}-{n}" for n in range(110_000)], [], is_any=False)
        assert low_water.is_dry([f"{call}-{n}" for n in range(110_000)], [])
    assert low_water.names_held == 110_000
