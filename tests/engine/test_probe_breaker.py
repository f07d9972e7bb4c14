"""A half-open breaker lets a few steps try, and their outcome decides."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from breaking import BAD, COOLDOWN, ONE, breaker, cool, fail, probe, tripped, until
from patient import patient_database
from releasing import settled, until_released
from rig import LONG, Rig, eventually
from waiting import GIVE_UP

import zart
from zart.models import Breaker, LeasedTask
from zart_server.engine.operations.probe_breaker import conclude_probes
from zart_server.store.breaking.probes import find_probes


def cools_for(found: Breaker) -> timedelta:
    """Return how long an open breaker stays open."""
    assert found.opened_at is not None
    assert found.cooldown_ends_at is not None
    return found.cooldown_ends_at - found.opened_at


async def complete(rig: Rig, count: int) -> None:
    """Complete so many steps, however many at a time are let go."""
    async with asyncio.timeout(GIVE_UP):
        while count > 0:
            tasks = await rig.lease(wait=LONG)
            await rig.complete(*tasks)
            count -= len(tasks)


async def test_a_probe_is_in_flight_of_a_rule_that_was_drained(rig: Rig) -> None:
    breaker_id = await tripped(rig)
    rule_id = (await rig.client.get_breaker(breaker_id)).rule_id
    await rig.client.wait_drained(rule_id)
    tried = await probe(rig)
    rule = await rig.client.get_pause_rule(rule_id)
    assert (rule.running_steps, rule.drained_at) == (1, None)

    await rig.fail(tried)
    await until(rig.client, breaker_id, "OPEN")
    assert (await rig.client.wait_drained(rule_id)).drained_at is not None


async def test_a_good_probe_closes_it_and_lets_the_others_go(rig: Rig) -> None:
    breaker_id = await tripped(rig)
    found = await rig.client.get_breaker(breaker_id)
    assert cools_for(found) == COOLDOWN

    tried = await probe(rig)
    assert (await rig.client.get_breaker(breaker_id)).status == "HALF_OPEN"
    assert tried.execution_id == "x-0"  # the oldest
    assert await rig.lease() == []
    await rig.complete(tried)
    closed = await until(rig.client, breaker_id, "CLOSED")

    assert (closed.rule_id, closed.trip_count) == (found.rule_id, 1)
    rule = await rig.client.get_pause_rule(found.rule_id)
    assert (rule.status, rule.deleted_by) == ("RESUMED", f"breaker {breaker_id}")
    await complete(rig, 2)
    assert [await rig.run_status(f"x-{n}") for n in range(3)] == ["COMPLETED"] * 3
    kinds = [o.kind.value async for o in rig.client.list_operations() if o.breaker_id]
    assert kinds[:3] == ["BREAKER_CLOSED", "BREAKER_HALF_OPENED", "BREAKER_OPENED"]


async def test_a_rate_lets_the_others_go_at_that_pace(rig: Rig) -> None:
    breaker_id = await tripped(rig, 4, rate_per_second=0.01)
    await rig.complete(await probe(rig))
    closed = await until(rig.client, breaker_id, "CLOSED")

    rule = await rig.client.get_pause_rule(closed.rule_id)
    assert rule.status == "RELEASING"
    assert rule.release is not None
    assert rule.release.rate_per_second == 0.01
    assert rule.release.started_by == f"breaker {breaker_id}"
    await rig.client.resume(rule_id=closed.rule_id)  # the rest at once
    assert (await rig.client.get_breaker(breaker_id)).status == "CLOSED"
    kinds = [o.kind.value async for o in rig.client.list_operations() if o.breaker_id]
    assert kinds.count("BREAKER_CLOSED") == 1


async def test_a_bad_probe_opens_it_for_twice_as_long(rig: Rig) -> None:
    breaker_id = await tripped(rig)
    spans = []
    for _ in range(2):
        tried = await probe(rig)
        ending = zart.Failed(BAD, retryable=False)
        await rig.report(zart.Outcome(tried.task_id, tried.lease_token, ending))
        found = await until(rig.client, breaker_id, "OPEN")
        spans.append(cools_for(found))
        assert found.last_error == BAD
        assert await rig.lease() == []
    assert spans == [2 * COOLDOWN, 4 * COOLDOWN]
    assert (found.trip_count, len(await rig.client.list_pause_rules())) == (1, 1)
    await rig.db.execute("UPDATE zart.breakers SET cooldowns = 8")
    tried = await probe(rig)
    await rig.report(zart.Outcome(tried.task_id, tried.lease_token, ending))
    found = await until(rig.client, breaker_id, "OPEN")
    assert cools_for(found) == 10 * COOLDOWN


async def test_one_that_flaps_stays_open_for_longer(rig: Rig) -> None:
    breaker_id = await tripped(rig, 1, failure_threshold=1)
    await rig.complete(await probe(rig))
    await until(rig.client, breaker_id, "CLOSED")

    await fail(rig, 1, "y")
    found = await until(rig.client, breaker_id, "OPEN")

    assert cools_for(found) == 2 * COOLDOWN
    await rig.client.reset_breaker(breaker_id)  # somebody has looked at it
    await fail(rig, 1, "z")
    found = await until(rig.client, breaker_id, "OPEN")
    assert cools_for(found) == COOLDOWN


async def test_it_stays_open_for_a_cooldown_though_the_clock_went_back(rig: Rig) -> None:
    """As that of a replica which is promoted, and was minutes behind."""
    breaker_id = await tripped(rig)
    await rig.client.reset_breaker(breaker_id)
    await rig.db.execute("UPDATE zart.breakers SET closed_at = closed_at + interval '10 minutes'")
    opened = await rig.client.trip_breaker(breaker_id)
    assert cools_for(opened.breaker) == COOLDOWN


async def test_one_that_stayed_open_for_no_time_does_so_once(rig: Rig) -> None:
    """As servers before left it whose clock went back."""
    breaker_id = await tripped(rig)
    await rig.db.execute("UPDATE zart.breakers SET cooldowns = 0")
    await rig.fail(await probe(rig))
    assert cools_for(await until(rig.client, breaker_id, "OPEN")) == 2 * COOLDOWN


async def test_all_probes_have_to_be_good(rig: Rig) -> None:
    breaker_id = await tripped(rig, 5, probe_steps=3)
    await cool(rig)
    tried: list[LeasedTask] = []
    async with asyncio.timeout(GIVE_UP):
        while len(tried) < 3:
            tried += await rig.lease(wait=LONG)
    assert [t.execution_id for t in tried] == ["x-0", "x-1", "x-2"]

    await rig.complete(*tried[:2])
    await rig.fail(tried[2])
    await until(rig.client, breaker_id, "OPEN")


async def test_they_are_counted_again_once_nobody_changes_it(zart_database: str, rig: Rig) -> None:
    """Who looked saw enough of them; then it was changed to want more."""
    breaker_id = await tripped(rig, 3, probe_steps=2)
    await cool(rig)
    (first,) = await rig.lease(1, wait=LONG)
    await rig.complete(first)
    db = await patient_database(zart_database)
    async with db.autocommit() as connection:
        probes = await find_probes(connection, breaker_id)
        assert probes is not None
        assert (probes.good, probes.wanted) == (1, 2)
        seen = probes._replace(wanted=1)
        assert await conclude_probes(connection, breaker_id, seen) is None
    await db.close()
    assert (await rig.client.get_breaker(breaker_id)).status == "HALF_OPEN"


async def test_one_that_ends_otherwise_is_replaced(rig: Rig) -> None:
    breaker_id = await tripped(rig, 2)
    first = await probe(rig)
    await rig.report(zart.Outcome(first.task_id, first.lease_token, zart.Released()))

    second = await probe(rig)

    assert (first.execution_id, second.execution_id) == ("x-0", "x-1")
    await rig.complete(second)
    await until(rig.client, breaker_id, "CLOSED")


async def test_with_nothing_paused_the_next_that_becomes_ready_is_the_probe(rig: Rig) -> None:
    breaker_id = await tripped(rig, 0)
    await cool(rig)
    await until(rig.client, breaker_id, "HALF_OPEN")
    await rig.start("late", ONE)

    tried = await probe(rig)

    assert tried.execution_id == "late"
    await rig.complete(tried)
    await until(rig.client, breaker_id, "CLOSED")


async def test_a_step_that_another_rule_matches_is_no_probe(rig: Rig) -> None:
    breaker_id = await breaker(rig.client, cooldown=COOLDOWN)
    await rig.client.pause(execution_id="x-0")
    await rig.client.trip_breaker(breaker_id)
    for n in range(2):
        await rig.start(f"x-{n}", ONE)

    tried = await probe(rig)

    assert tried.execution_id == "x-1"
    assert await rig.statuses("x-0") == {"charge": "PAUSED"}
    await rig.complete(tried)
    await until(rig.client, breaker_id, "CLOSED")
    assert await rig.lease() == []


async def test_tripping_one_takes_its_probes_back(rig: Rig) -> None:
    breaker_id = await tripped(rig, 2, probe_steps=2)
    await cool(rig)

    async def is_let_go() -> bool:
        return set((await rig.statuses("x-1")).values()) == {"SCHEDULED"}

    await eventually(is_let_go)

    opened = await rig.client.trip_breaker(breaker_id, reason="not yet")

    assert (opened.status, opened.breaker.trip_count) == ("OPEN", 1)
    assert cools_for(opened.breaker) == COOLDOWN
    assert await rig.lease() == []
    assert await rig.statuses("x-0") == {"charge": "PAUSED"}


async def test_who_ends_its_rule_slowly_keeps_it_from_trying(rig: Rig) -> None:
    breaker_id = await tripped(rig, 2)
    opened = await rig.client.get_breaker(breaker_id)
    await rig.client.resume(rule_id=opened.rule_id, rate_per_second=1)
    await cool(rig)

    await complete(rig, 2)
    closed = await until(rig.client, breaker_id, "CLOSED")

    assert closed.half_open_at is None
    (rule,) = await rig.client.list_pause_rules(include_deleted=True)
    assert (rule.status, rule.deleted_by) == ("RESUMED", "tester")


async def test_who_ends_it_slowly_while_it_tries_does_so_in_its_place(rig: Rig) -> None:
    breaker_id = await tripped(rig, 4)
    first = await probe(rig)
    opened = await rig.client.get_breaker(breaker_id)
    await rig.client.resume(rule_id=opened.rule_id, rate_per_second=2)

    await rig.fail(first)
    await complete(rig, 3)
    closed = await until(rig.client, breaker_id, "CLOSED")

    rule = await rig.client.get_pause_rule(opened.rule_id)
    assert (closed.trip_count, rule.deleted_by) == (1, "tester")


@pytest.mark.parametrize("tries", [True, False])
async def test_tripping_one_whose_rule_is_let_go_at_a_pace_stops_that(
    rig: Rig, *, tries: bool
) -> None:
    breaker_id = await tripped(rig, 4)
    if tries:
        await probe(rig)
    rule_id = (await rig.client.get_breaker(breaker_id)).rule_id
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.01)
    await until_released(rig, 1 + tries)

    opened = await rig.client.trip_breaker(breaker_id, reason="it is not over")

    assert (opened.status, opened.rule_id, opened.breaker.trip_count) == ("OPEN", rule_id, 1)
    assert cools_for(opened.breaker) == COOLDOWN
    assert await rig.lease() == []
    await settled(rig)
    assert (await rig.client.get_pause_rule(rule_id)).status == "ACTIVE"
    assert await rig.lease() == []
    for n in range(tries, 4):
        assert await rig.statuses(f"x-{n}") == {"charge": "PAUSED"}
    again = await rig.client.trip_breaker(breaker_id)  # there is nothing more to stop
    assert again.breaker.opened_at == opened.breaker.opened_at
    kinds = [o.kind.value async for o in rig.client.list_operations(breaker_id=breaker_id)]
    assert kinds.count("BREAKER_OPENED") == 2


@pytest.mark.parametrize("rate", [None, 100.0])
async def test_what_it_does_by_itself_belongs_to_the_incident_of_its_rule(
    rig: Rig, rate: float | None
) -> None:
    breaker_id = await breaker(rig.client, cooldown=COOLDOWN, rate_per_second=rate)
    await rig.client.trip_breaker(breaker_id, incident="INC-7")
    await rig.start("x", ONE)
    await rig.complete(await probe(rig))
    await until(rig.client, breaker_id, "CLOSED")
    operations = await rig.client.list_operations(incident="INC-7")
    kinds = [o.kind.value for o in operations if o.breaker_id]
    assert kinds == ["BREAKER_CLOSED", "BREAKER_HALF_OPENED", "BREAKER_OPENED"]
