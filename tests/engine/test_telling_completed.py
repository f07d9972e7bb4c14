"""Each server tells what it completed, for breakers with a ratio, whatever else it waits for."""

from __future__ import annotations

import pytest
from breaking import ONE, breaker, until
from rig import Rig, eventually

import zart
from zart.testing.server import serving
from zart_server.engine.background import breakers, telling_completed
from zart_server.engine.operations import trip_breaker
from zart_server.store.pausing.rules import PAUSE_LOCK


async def told(rig: Rig) -> int:
    """Return how many completed attempts are counted."""
    found: int = await rig.db.fetchval(
        "SELECT COALESCE(sum(completed), 0)::integer FROM zart.breaker_counts"
    )
    return found


async def test_what_is_completed_is_told_while_a_breaker_waits_to_open(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the pause lock, which somebody shares for long."""
    monkeypatch.setattr(trip_breaker, "_WAIT", 3600.0)
    await breaker(rig.client, min_failure_ratio=0.5)
    opening = await breaker(rig.client, step_pattern="ship*", failure_threshold=1)
    for n in range(3):
        await rig.start(f"x-{n}", ONE)
    await rig.start("y", {"ship": ()})
    leased = await rig.lease(lease_duration=3600)
    assert len(leased) == 4
    await rig.db.execute(f"SELECT pg_advisory_lock_shared({PAUSE_LOCK})")
    await rig.fail(*(task for task in leased if task.step_name == "ship"))
    await rig.until_waiting()
    await rig.complete(*(task for task in leased if task.step_name != "ship"))

    async def is_all_told() -> bool:
        return await told(rig) == 3

    await eventually(is_all_told)
    assert (await rig.client.get_breaker(opening)).status == "CLOSED"
    await rig.db.execute(f"SELECT pg_advisory_unlock_shared({PAUSE_LOCK})")
    await until(rig.client, opening, "OPEN")


async def test_what_was_completed_last_is_told_as_its_server_stops(
    rig: Rig, zart_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (breakers, telling_completed):
        monkeypatch.setattr(module, "_TICK", 3600.0)
    with serving(zart_database) as other:
        completions = other.running.runtime.dispatch.completions

        async def is_asked_for() -> bool:
            return bool(completions)

        async with zart.connect(other.address, group_starts=False) as client:
            there = Rig(client, rig.db)
            await breaker(client, min_failure_ratio=0.5)
            await eventually(is_asked_for)
            await there.start("x", ONE)
            assert await there.complete(await there.lease_one("charge")) == ["RECORDED"]
    assert await told(rig) == 1
