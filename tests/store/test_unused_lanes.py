"""Looks and claims cost the lanes that have something, not all that there ever were."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hot.explained import Plan, explained
from lanes import queue, wanting

from zart_server.engine.dispatch.lease import lease_tasks
from zart_server.engine.dispatch.low_water import LowWater
from zart_server.store.db import Database
from zart_server.store.due import Begin, DueLanes, are_any_due, due_before, due_lanes
from zart_server.store.pausing.rules import SHARE_PAUSE_LOCK

NOW = datetime.now(UTC)


def probes(plan: Plan) -> int:
    """Return how often lanes' places in the queue were looked up."""
    return sum(
        node["Actual Loops"] for node in plan.nodes if node.get("Index Name") == "queue_ready"
    )


async def test_lanes_where_nothing_is_left_cost_nothing(store: Database) -> None:
    """As after an inline graph has ended whose steps had a lane each, by their names."""
    await queue(store, lanes=10_000, tasks=1)
    async with store.transaction() as tx:
        await tx.execute("DELETE FROM zart.queue")
    await queue(store, lanes=3, tasks=10, called="small")
    async with explained(store, first=SHARE_PAUSE_LOCK) as tx:
        looks = tx.tx
        assert len((await due_lanes(looks, ["t"], Begin())).lanes) == 3
        assert (await are_any_due(looks, ["t"], None, Begin()))[1]
        assert (await due_before(looks, ["t"], Begin({}, NOW), None, NOW)).lanes == []
        low_water = LowWater()
        for count in (20, 10):
            assert len(await lease_tasks(looks, wanting(count), low_water)) == count

        assert max(plan.looked_at("lanes") for plan in tx.plans) < 600
        assert max(probes(plan) for plan in tx.plans) < 50
        assert max(plan.looked_at("queue") for plan in tx.plans) < 200


@pytest.mark.parametrize("may_skip", [True, False])
async def test_no_lane_that_has_something_is_skipped(store: Database, may_skip: bool) -> None:  # noqa: FBT001
    """Up to as many as pay to go from one to the next, and beyond; among those of others too."""
    await queue(store, lanes=1300, tasks=1)
    async with store.transaction() as tx:
        for filled in (1300, 1001, 1000, 999, 257, 1, 0):
            await tx.execute("DELETE FROM zart.queue WHERE step_no * 7 % 1300 >= $1", filled)
            due = await due_lanes(tx, ["t"], Begin(may_skip=may_skip))
            assert len({lane.handler for lane in due.lanes}) == len(due.lanes) == filled
            begin = Begin({lane.lane: lane.cursor for lane in due.lanes[:5]}, may_skip=may_skip)
            again = await due_lanes(tx, ["t"], begin)
            assert {lane.cursor for lane in again.lanes} == {lane.cursor for lane in due.lanes}
            assert (await due_lanes(tx, ["other"], Begin(may_skip=may_skip))).lanes == []


async def test_few_lanes_are_looked_up_as_they_are(store: Database) -> None:
    low_water = LowWater()
    await queue(store, lanes=256, tasks=1)
    for lanes in (256, 257):
        begin = low_water.to_look(["t"])
        assert begin.may_skip
        async with store.transaction() as tx:
            low_water.looked(["t"], begin, await due_lanes(tx, ["t"], begin), 0)
        assert low_water.to_look(["t"]).may_skip == (lanes > 256)
        low_water = LowWater()
        await queue(store, lanes=257, tasks=1)


async def test_where_looks_by_the_queue_are_slow_lanes_are_looked_up_by_their_marks() -> None:
    low_water = LowWater()
    due = DueLanes(NOW, is_all=True, are_many=True, lanes=[])
    for seconds, may_skip in ((1, True), (0, True), (1, True), (1, False)):
        low_water.looked(["t"], low_water.to_look(["t"]), due, seconds)
        assert low_water.to_look(["t"]).may_skip == may_skip
