"""A rule is drained when nothing that it withholds is in flight, and says since when."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import releasing
from draining import drains_on_record, until_looked_at
from rig import LONG, Rig, eventually, maintain

import zart
from zart.models import LeasedTask, PauseRule
from zart.testing.server import ServerUnderTest, serving
from zart_server.engine.background import drains

STEP = {"a": ()}


async def leased(rig: Rig, count: int = 1, *, task: str = "t", **options: Any) -> list[LeasedTask]:
    """Start executions of one step, and lease them."""
    for n in range(count):
        await rig.start(f"{task}-{n}", STEP, task=task)
    return await rig.lease(count, task=task, **{"lease_duration": 3600, **options})


async def drained(rig: Rig, rule_id: str) -> PauseRule:
    """Wait until a rule is drained."""
    return await rig.client.wait_drained(rule_id)


@contextmanager
def looks_of(server: ServerUnderTest) -> Iterator[list[datetime]]:
    """Note when each look of the server's loop is over."""
    looking, looks = server.running.runtime.drains, list[datetime]()
    before = looking.on_look

    def note() -> None:
        looks.append(datetime.now(UTC))
        before()

    looking.on_look = note
    try:
        yield looks
    finally:
        looking.on_look = before


async def test_counts_are_of_what_is_withheld_and_in_flight(rig: Rig) -> None:
    await leased(rig, 2)
    await rig.start("later", STEP)
    paused = await rig.client.pause(task_name="t")
    assert (paused.paused_steps, paused.running_steps) == (1, 2)
    assert (paused.rule.paused_steps, paused.rule.running_steps) == (1, 2)

    read = await rig.client.get_pause_rule(paused.rule_id)
    [listed] = await rig.client.list_pause_rules()
    for rule in (read, listed):
        assert (rule.paused_steps, rule.running_steps, rule.drained_at) == (1, 2, None)


async def test_a_rule_without_anything_in_flight_is_drained_at_once(rig: Rig) -> None:
    await leased(rig, task="other")
    paused = await rig.client.pause(task_name="t")
    rule = await drained(rig, paused.rule_id)

    assert rule.drained_at is not None
    assert rule.running_steps == 0
    assert await drains_on_record(rig) == [(paused.rule_id, "drain")]


async def test_it_is_drained_within_a_second_of_the_last_end(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """By the first look that begins after it: the next one begins in less than a second."""
    tasks = await leased(rig, 3)
    paused = await rig.client.pause(task_name="t", incident="INC-7")
    await rig.complete(*tasks[:2])
    waiting = asyncio.create_task(drained(rig, paused.rule_id))
    await until_looked_at(rig)
    assert not waiting.done()

    with looks_of(zart_server) as looks:
        await rig.complete(tasks[2])
        recorded = datetime.now(UTC)
        rule = await waiting
    ended = await rig.db.fetchval("SELECT max(completed_at) FROM zart.steps")
    assert rule.drained_at is not None
    assert rule.drained_at >= ended
    # One look may have been under way.
    assert sum(recorded < look <= rule.drained_at for look in looks) <= 1
    assert drains._EVERY < 1
    [operation] = await rig.client.list_operations(kind="drain")
    assert (operation.rule_id, operation.incident) == (paused.rule_id, "INC-7")


@pytest.mark.parametrize("scope", [{"execution_id": "t-0"}, {"step_pattern": "a*"}, {}])
async def test_each_scope_drains(rig: Rig, scope: dict[str, Any]) -> None:
    [task] = await leased(rig)
    await leased(rig, task="u")
    paused = await rig.client.pause(**(scope or {"task_name": "t"}))
    before = await rig.client.get_pause_rule(paused.rule_id)
    assert before.running_steps == (2 if "step_pattern" in scope else 1)
    await rig.complete(task, rig.leased["u-0", "a"])

    assert (await drained(rig, paused.rule_id)).running_steps == 0


async def test_a_step_of_a_dead_dispatcher_counts_until_its_lease_is_swept(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await leased(rig)
    paused = await rig.client.pause(task_name="t")
    # For the second half of a lease nobody has extended it.
    await rig.db.execute("UPDATE zart.leases SET lease_expires_at = now() + interval '1 hour' / 3")
    told = []
    async for rule in rig.client.watch_pause_rule(paused.rule_id, until="drained"):
        told.append(rule)
        if rule.silent_steps:
            await rig.db.execute("UPDATE zart.leases SET lease_expires_at = now()")

    assert [rule.running_steps for rule in told][-1] == 0
    silent = [rule for rule in told if rule.silent_steps]
    assert all(rule.running_steps == 1 and rule.silent_until for rule in silent)
    assert silent
    [lost] = await rig.db.fetch("SELECT status, completed_at FROM zart.attempts")
    assert lost["status"] == "lost"
    assert told[-1].drained_at is not None
    assert told[-1].drained_at >= lost["completed_at"]


async def test_what_a_rule_exempts_is_not_waited_for(rig: Rig) -> None:
    await leased(rig, 2)
    await rig.start("t-2", STEP)
    paused = await rig.client.pause(task_name="t")
    updated = await rig.client.update_pause_rule(paused.rule_id, exempt=["t-0", "t-2"])
    assert (updated.rule.paused_steps, updated.rule.running_steps) == (0, 1)
    read = await rig.client.get_pause_rule(paused.rule_id)
    assert (read.paused_steps, read.running_steps) == (0, 1)

    await rig.complete(rig.leased["t-1", "a"])
    assert (await drained(rig, paused.rule_id)).drained_at is not None


async def test_an_exemption_taken_back_is_waited_for_anew(rig: Rig) -> None:
    paused = await rig.client.pause(task_name="t")
    await rig.client.update_pause_rule(paused.rule_id, exempt=["t-0"])
    await drained(rig, paused.rule_id)
    [task] = await leased(rig)
    assert (await rig.client.get_pause_rule(paused.rule_id)).is_drained

    updated = await rig.client.update_pause_rule(paused.rule_id, unexempt=["t-0"])
    assert (updated.rule.running_steps, updated.rule.drained_at) == (1, None)
    await until_looked_at(rig)
    assert not (await rig.client.get_pause_rule(paused.rule_id)).is_drained
    await rig.complete(task)
    assert (await drained(rig, paused.rule_id)).running_steps == 0
    assert await drains_on_record(rig) == [(paused.rule_id, "drain")]


async def test_what_is_let_go_is_waited_for_anew_and_recorded_once(rig: Rig) -> None:
    rule_id = await releasing.paused(rig)
    await rig.start("t-0", STEP)
    await drained(rig, rule_id)
    await rig.client.resume(rule_id=rule_id, canary=1)
    await until_looked_at(rig)  # it is queued: it may be leased at any moment
    before = await rig.client.get_pause_rule(rule_id)
    assert (before.paused_steps, before.running_steps, before.drained_at) == (0, 0, None)

    [task] = await rig.lease(wait=LONG)
    assert (await rig.client.get_pause_rule(rule_id)).running_steps == 1
    await rig.complete(task)
    await drained(rig, rule_id)
    assert await drains_on_record(rig) == [(rule_id, "drain")]


async def test_what_was_let_go_is_not_waited_for_while_it_is_exempt(rig: Rig) -> None:
    rule_id = await releasing.paused(rig)
    await rig.start("t-0", STEP)
    await drained(rig, rule_id)
    await rig.client.resume(rule_id=rule_id, canary=1)
    await until_looked_at(rig)
    assert not (await rig.client.get_pause_rule(rule_id)).is_drained

    await rig.client.update_pause_rule(rule_id, exempt=["t-0"])  # it is queued still
    assert (await drained(rig, rule_id)).running_steps == 0
    await rig.client.update_pause_rule(rule_id, unexempt=["t-0"])
    await until_looked_at(rig)
    assert not (await rig.client.get_pause_rule(rule_id)).is_drained
    await rig.complete(*await rig.lease(wait=LONG))
    await drained(rig, rule_id)


async def test_what_the_slowest_lets_go_is_in_flight_of_each_rule(rig: Rig) -> None:
    both = [await releasing.paused(rig), await releasing.paused(rig, "a*")]
    await rig.start("t-0", {"a": (), "a2": ()})
    for rule_id in both:
        await drained(rig, rule_id)
    await rig.client.resume(rule_id=both[0], rate_per_second=100)
    await rig.client.resume(rule_id=both[1], rate_per_second=0.01)
    assert len(await rig.lease(wait=LONG)) == 1
    for rule_id in both:
        rule = await rig.client.get_pause_rule(rule_id)
        assert (rule.running_steps, rule.drained_at) == (1, None)


async def test_what_was_let_go_counts_when_another_rule_ends_that_had_it(rig: Rig) -> None:
    first, slow = await releasing.paused(rig), await releasing.paused(rig, "a*")
    await rig.start("t-0", {"a": (), "a2": (), "a3": ()})
    await rig.client.resume(rule_id=slow, rate_per_second=0.01)
    await rig.client.resume(rule_id=first, canary=2)
    await rig.complete(*await rig.lease(wait=LONG))  # the one that the slow one lets go at once
    await drained(rig, first)  # the other waits for the slow one

    await rig.client.resume(rule_id=slow)
    assert len(await rig.lease(wait=LONG)) == 1
    rule = await rig.client.get_pause_rule(first)
    assert (rule.running_steps, rule.drained_at) == (1, None)


async def test_a_rule_that_was_drained_says_so_when_it_has_ended(rig: Rig) -> None:
    """Though another lets go, later on, what it had let go."""
    first, slow = await releasing.paused(rig), await releasing.paused(rig, "a*")
    await rig.start("t-0", {"a": (), "a2": (), "a3": ()})
    await rig.client.resume(rule_id=slow, rate_per_second=0.01)
    await rig.client.resume(rule_id=first, canary=2)
    await rig.complete(*await rig.lease(wait=LONG))
    rule = await drained(rig, first)
    await rig.client.resume(rule_id=first)
    await rig.client.resume(rule_id=slow)
    await releasing.settled(rig)
    assert await rig.lease(wait=LONG)
    assert (await rig.client.get_pause_rule(first)).drained_at == rule.drained_at


async def test_a_rule_that_ends_first_is_not_drained(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await leased(rig)
    paused = await rig.client.pause(task_name="t")
    waiting = asyncio.create_task(drained(rig, paused.rule_id))
    await until_looked_at(rig)
    await rig.client.resume(rule_id=paused.rule_id)
    rule = await waiting
    assert (rule.status, rule.drained_at, rule.running_steps) == ("RESUMED", None, 0)

    async def is_forgotten() -> bool:
        return not await rig.db.fetchval("SELECT count(*) FROM zart.pause_drains")

    await eventually(is_forgotten)
    assert await drains_on_record(rig) == []


async def test_nothing_is_looked_at_when_nothing_is_awaited(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await leased(rig)
    looking = zart_server.running.runtime.drains
    before = looking._seen_at
    for _ in range(3):
        await maintain(zart_server)
        await rig.client.list_pause_rules()
    assert looking._seen_at == before


async def test_many_in_flight_end_while_two_servers_watch(zart_database: str, rig: Rig) -> None:
    count = 2_000
    await rig.client.register_task("t", [zart.StepSpec("a")])
    for begin in range(0, count, 500):
        await rig.client.batch_start_executions(
            [zart.Start("t", execution_id=f"x-{n}") for n in range(begin, begin + 500)]
        )
    tasks = [task for _ in range(4) for task in await rig.lease(500, lease_duration=3600)]
    paused = await rig.client.pause(task_name="t")
    assert paused.running_steps == len(tasks) == count
    with serving(zart_database) as other:
        async with zart.connect(other.address) as elsewhere:
            there = asyncio.create_task(elsewhere.wait_drained(paused.rule_id))
            here = asyncio.create_task(drained(rig, paused.rule_id))
            for begin in range(0, count, 400):
                await rig.complete(*tasks[begin : begin + 400])
            rules = await asyncio.gather(here, there)
    assert {rule.drained_at for rule in rules} == {rules[0].drained_at}
    assert rules[0].drained_at is not None
    assert await drains_on_record(rig) == [(paused.rule_id, "drain")]
