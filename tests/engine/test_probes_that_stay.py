"""An execution with a probe of a half-open breaker is not removed, since the breaker counts it."""

from __future__ import annotations

from datetime import timedelta

from breaking import cool, probe, tripped, until
from retaining import left, make_old
from rig import LONG, Rig

MONTH = timedelta(days=30)


async def test_a_good_probe_counts_however_soon_what_has_ended_is_to_go(rig: Rig) -> None:
    breaker_id = await tripped(rig, 3, probe_steps=2)
    await cool(rig)
    (first,) = await rig.lease(1, wait=LONG)
    await rig.complete(first)
    await rig.client.restart("x-0")  # so that the probe is of a run before the current one
    await rig.client.cancel_execution("x-0")
    await make_old(rig.db)
    for is_plan in (True, False):
        found = await rig.client.purge_executions(MONTH, validate_only=is_plan)
        assert (found.removed_executions, found.kept_executions) == (0, 1)

    second = await probe(rig)
    assert (first.execution_id, second.execution_id) == ("x-0", "x-1")
    await rig.complete(second)
    await until(rig.client, breaker_id, "CLOSED")

    await make_old(rig.db)
    assert (await rig.client.purge_executions(MONTH)).removed_executions == 2
    assert await left(rig.db) == ["x-2"]
