"""Reports are committed together, but for those that make thousands of steps ready."""

from __future__ import annotations

import pytest
from rig import Rig


def fan(steps: int) -> dict[str, tuple[str, ...]]:
    """Make a graph of a step that so many others wait for."""
    return {"first": (), **{f"s{n}": ("first",) for n in range(steps)}}


@pytest.mark.parametrize("steps", [3, 3_000])
async def test_as_many_are_enqueued_at_once_as_take_no_time(rig: Rig, steps: int) -> None:
    for execution_id in "xyz":
        await rig.start(execution_id, fan(steps), handler="h")
    tasks = await rig.lease()

    assert await rig.complete(*tasks) == ["RECORDED"] * 3

    (queued, at_once) = await rig.db.fetchrow(
        "SELECT count(*), count(DISTINCT xmin::text) FROM zart.queue"
    ) or (0, 0)
    assert (queued, at_once) == (3 * steps, 1 if steps < 1000 else 3)


async def test_one_outcome_is_never_too_much(rig: Rig) -> None:
    await rig.start("x", fan(6_000), handler="h")
    (task,) = await rig.lease()

    assert await rig.complete(task) == ["RECORDED"]

    assert await rig.db.fetchval("SELECT count(*) FROM zart.queue") == 6_000
