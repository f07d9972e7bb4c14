"""Who names a step in doubt waits for no doubt of another."""

from __future__ import annotations

from typing import Any

import pytest
from doubts import STOP
from rig import Rig

import zart


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("retry_step", {"accept_in_doubt": True}),
        ("complete_step", {"result": 1}),
        ("fail_step", {"message": "no"}),
    ],
)
async def test_what_names_a_step_locks_what_is_in_doubt_of_that_step(
    rig: Rig, verb: str, options: dict[str, Any]
) -> None:
    """Of a run there may be thousands, and a batch comes to each in turn."""
    await rig.start("x", {"a": (), "b": ()}, **STOP)
    lost = [zart.Outcome(t.task_id, t.lease_token, zart.Lost()) for t in await rig.lease()]
    await rig.report(*lost)
    async with rig.locked("SELECT FROM zart.in_doubt WHERE step_name = 'a' FOR UPDATE"):
        await getattr(rig.client, verb)("x", "b", **options)
    assert (await rig.client.get_step("x", "a")).in_doubt
    assert not (await rig.client.get_step("x", "b")).in_doubt
