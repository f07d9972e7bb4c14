"""What a half-open breaker lets try where other rules, or a backoff, have a say in it, too."""

from __future__ import annotations

import asyncio

from breaking import BAD, COOLDOWN, ONE, breaker, cool, probe, until
from releasing import hold_the_pace, until_released
from rig import LONG, Rig, eventually

import zart
from zart.testing.server import ServerUnderTest
from zart_server.store.pausing.rules import PAUSE_LOCK

LATER = zart.Retry(max_attempts=3, initial_backoff=3600.0, max_backoff=3600.0)


async def look(server: ServerUnderTest, times: int = 3) -> None:
    """Have the server look after its breakers so often."""
    for _ in range(times):
        turn = server.running.runtime.breakers.turn()
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(turn, server.loop))


async def test_a_step_in_backoff_is_no_probe_what_is_due_is(rig: Rig) -> None:
    breaker_id = await breaker(rig.client, failure_threshold=1, cooldown=COOLDOWN)
    await rig.start("x", ONE, retry=LATER)
    (failed,) = await rig.lease()
    await rig.report(zart.Outcome(failed.task_id, failed.lease_token, zart.Failed(BAD)))
    await until(rig.client, breaker_id, "OPEN")
    await cool(rig)
    await until(rig.client, breaker_id, "HALF_OPEN")
    await rig.start("y", ONE)

    tried = await probe(rig)

    assert tried.execution_id == "y"
    assert await rig.statuses("x") == {"charge": "PAUSED"}
    await rig.complete(tried)
    await until(rig.client, breaker_id, "CLOSED")


async def test_a_probe_is_one_while_it_waits_for_the_pace_of_another_rule(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    breaker_id = await breaker(rig.client, cooldown=COOLDOWN)
    await rig.client.trip_breaker(breaker_id)
    slow = (await rig.client.pause(task_name="t")).rule.rule_id
    await rig.start("first", {"other": ()})
    for n in range(5):
        await rig.start(f"x-{n}", ONE)
    await rig.client.resume(rule_id=slow, rate_per_second=0.01)
    (spent,) = await rig.lease(wait=LONG)  # all the credit that there is
    assert spent.execution_id == "first"
    await hold_the_pace(rig)
    await cool(rig)
    await until_released(rig, 2)

    await look(zart_server)

    rule_id = (await rig.client.get_breaker(breaker_id)).rule_id
    let_go = await rig.db.fetchval(
        "SELECT count(*) FROM zart.released_steps JOIN zart.pause_rules USING (rule_key)"
        " WHERE rule_id = $1",
        rule_id,
    )
    assert let_go == 1
    await rig.client.resume(rule_id=slow)
    await rig.complete(*await rig.lease(wait=LONG))
    await until(rig.client, breaker_id, "CLOSED")


async def test_breakers_that_are_half_open_together_try_with_the_same_step(rig: Rig) -> None:
    both = [
        await breaker(rig.client, cooldown=COOLDOWN, task_name=task, probe_steps=probes)
        for task, probes in (("t", 1), (None, 2))
    ]
    for breaker_id in both:
        await rig.client.trip_breaker(breaker_id)
    for n in range(3):
        await rig.start(f"x-{n}", ONE)
    await cool(rig)
    for breaker_id in both:
        await until(rig.client, breaker_id, "HALF_OPEN")

    tried = await probe(rig)
    assert await rig.lease() == []  # the one is content with it, so that the other waits
    await rig.complete(tried)

    await until(rig.client, both[0], "CLOSED")
    last = await probe(rig)
    assert await rig.lease() == []
    await rig.complete(last)
    await until(rig.client, both[1], "CLOSED")


async def test_a_probe_of_two_breakers_that_ends_badly_opens_both(rig: Rig) -> None:
    both = [await breaker(rig.client, cooldown=COOLDOWN, task_name=task) for task in ("t", None)]
    for breaker_id in both:
        await rig.client.trip_breaker(breaker_id)
    for n in range(2):
        await rig.start(f"x-{n}", ONE)
    await cool(rig)
    for breaker_id in both:
        await until(rig.client, breaker_id, "HALF_OPEN")

    await rig.fail(await probe(rig))

    async def are_open() -> bool:
        found = [await rig.client.get_breaker(breaker_id) for breaker_id in both]
        return all(one.status == "OPEN" for one in found)

    await eventually(are_open)
    assert await rig.lease() == []


async def test_one_that_cannot_try_yet_holds_up_no_other(rig: Rig) -> None:
    """It waits for the pause lock, which somebody shares for long."""
    cooled = "UPDATE zart.breakers SET opened_at = opened_at - cooldown WHERE breaker_id = $1"
    first, second = [
        await breaker(rig.client, cooldown=COOLDOWN, step_pattern=pattern)
        for pattern in ("charge*", "ship*")
    ]
    for breaker_id in (first, second):
        await rig.client.trip_breaker(breaker_id)
    await rig.db.execute(cooled, second)
    await until(rig.client, second, "HALF_OPEN")
    await rig.db.execute(f"SELECT pg_advisory_lock_shared({PAUSE_LOCK})")
    await cool(rig)
    await rig.until_waiting()
    await rig.start("x", {"ship": ()})

    (tried,) = await rig.lease(wait=LONG)

    assert tried.step_name == "ship"
    assert (await rig.client.get_breaker(first)).status == "OPEN"
    await rig.db.execute(f"SELECT pg_advisory_unlock_shared({PAUSE_LOCK})")
    await until(rig.client, first, "HALF_OPEN")
