"""Breakers are made, read and listed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from breaking import breaker
from rig import Rig, eventually

from zart.testing.server import ServerUnderTest, serving


async def test_a_new_one_is_closed_and_as_it_was_asked_for(rig: Rig) -> None:
    made = await rig.client.create_breaker(
        task_name="order",
        step_pattern="charge-*",
        failure_threshold=20,
        window=timedelta(minutes=1),
        min_failure_ratio=0.25,
        error_group_id="eg-1abcdefg",
        cooldown=30,
        probe_steps=3,
        rate_per_second=40,
        triggered_by="bob",
        reason="the card service",
        incident="INC-7",
    )

    found = await rig.client.get_breaker(made.breaker_id)

    assert found == made.breaker
    assert found.breaker_id.startswith("br-")
    assert (found.task_name, found.step_pattern) == ("order", "charge-*")
    assert (found.failure_threshold, found.window) == (20, timedelta(minutes=1))
    assert (found.min_failure_ratio, found.error_group_id) == (0.25, "eg-1abcdefg")
    assert (found.cooldown, found.probe_steps) == (timedelta(seconds=30), 3)
    assert found.rate_per_second == 40
    assert (found.status, found.rule_id, found.trip_count) == ("CLOSED", "", 0)
    assert (found.created_by, found.reason, found.incident) == ("bob", "the card service", "INC-7")
    assert found.opened_at is None
    (row,) = await rig.db.fetch("SELECT * FROM zart_breakers")
    assert (row["status"], row["window"]) == ("closed", timedelta(minutes=1))


async def test_they_are_listed_newest_first(rig: Rig) -> None:
    made = [await breaker(rig.client) for _ in range(5)]

    listed = [b.breaker_id async for b in rig.client.list_breakers(page_size=2)]

    assert listed == made[::-1]


async def test_the_first_one_is_counted_for_at_once(rig: Rig, zart_server: ServerUnderTest) -> None:
    """Not only from the next look at what is due of rules on, which has to wait here."""
    runtime = zart_server.running.runtime

    async def is_idle() -> bool:
        return not runtime.breakers._is_any

    async def is_asked_for() -> bool:
        return bool(runtime.dispatch.completions)

    before = await breaker(rig.client, min_failure_ratio=0.5)
    await eventually(is_asked_for)
    await rig.client.delete_breaker(before)
    await eventually(is_idle)
    async with rig.locked("LOCK TABLE zart.pause_canaries IN ACCESS EXCLUSIVE MODE"):
        await rig.until_waiting(1)
        await breaker(rig.client, min_failure_ratio=0.5)
        await eventually(is_asked_for)


async def test_the_first_one_is_counted_for_by_another_server_too(
    rig: Rig, zart_database: str
) -> None:
    with serving(zart_database) as other:
        runtime = other.running.runtime

        async def has_looked() -> bool:
            return runtime.breakers._next_purge > 0.0

        async def is_asked_for() -> bool:
            return bool(runtime.dispatch.completions)

        await eventually(has_looked)  # and found none: nothing but `RuleLooks` begin it again
        missing = asyncio.run_coroutine_threadsafe(runtime._notifications.stop(), other.loop)
        await asyncio.wrap_future(missing)
        await breaker(rig.client, min_failure_ratio=0.5)
        await eventually(is_asked_for)
