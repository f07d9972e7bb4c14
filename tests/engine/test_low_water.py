"""Claims go on from where the last one came to, and find all the same what stands before that."""

from __future__ import annotations

import pytest
from rig import Rig, eventually


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
