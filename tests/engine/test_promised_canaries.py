"""A canary of a rule that is settling goes once it may: of what was ready when it was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from breaking import cool, tripped, until
from releasing import settled, until_released
from rig import Rig, eventually

from zart import errors
from zart.testing.server import ServerUnderTest
from zart_server.store.pausing.matching import LOOKED_AT

STEPS = {f"s{n}": () for n in range(6)}
LAST = "SELECT FROM zart.queue WHERE step_name = 's5' FOR UPDATE"


def named(steps: dict[str, str], status: str) -> set[str]:
    return {name for name, found in steps.items() if found == status}


async def look_for_canaries(server: ServerUnderTest) -> None:
    """Have the server look once more for what it is to release, however soon after the last time."""
    releases = server.running.runtime.releases

    async def look() -> None:
        releases._canary_at.clear()
        await releases.turn()

    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(look(), server.loop))


async def promised(rig: Rig) -> int:
    """Return how many steps are to be released once a rule is settled."""
    found: int = await rig.db.fetchval("SELECT COALESCE(sum(steps), 0) FROM zart.pause_canaries")
    return found


async def until_nothing_is_promised(rig: Rig) -> None:
    async def is_nothing() -> bool:
        return await promised(rig) == 0

    await eventually(is_nothing)


@asynccontextmanager
async def settling(zart_database: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Keep rules from being settled, by the last run that is queued; gives what lets them be."""
    other = await asyncpg.connect(zart_database)
    try:
        holding = other.transaction()
        await holding.start()
        last = "run_key = (SELECT max(run_key) FROM zart.queue)"
        await other.execute(f"SELECT FROM zart.queue WHERE {last} FOR UPDATE")
        yield holding.rollback
    finally:
        await other.close()


async def promise_ten(rig: Rig) -> None:
    """Have ten of ten steps promised, of which all but the last are in the line by now."""
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    assert (await rig.client.resume(rule_id=rule_id, canary=10)).released_steps == 10

    async def all_others_are_paused() -> bool:
        return bool(await rig.db.fetchval("SELECT count(*) = 9 FROM zart.held"))

    await eventually(all_others_are_paused)


async def test_what_others_have_locked_as_the_rule_is_settled_goes_later(
    rig: Rig, zart_server: ServerUnderTest, zart_database: str
) -> None:
    """Not so what went, and failed: another attempt of that needs another canary."""
    for n in range(10):
        await rig.start(f"x-{n}", {"a": ()})
    async with settling(zart_database) as settle:
        await promise_ten(rig)
        held = "SELECT run_key FROM zart.held ORDER BY queue_no LIMIT 7"
        runs = f"SELECT FROM zart.runs WHERE run_key IN ({held}) FOR NO KEY UPDATE"
        async with rig.locked(runs):
            await settle()
            await until_released(rig, 3)
            assert await promised(rig) == 7
            three = await rig.lease()
            for task in three:
                await rig.fail(task, retryable=True)
            await look_for_canaries(zart_server)
            assert await promised(rig) == 7
            assert await rig.lease() == []
    await until_released(rig, 10)
    assert await promised(rig) == 0
    seven = await rig.lease()
    assert {t.execution_id for t in three} == {"x-7", "x-8", "x-9"}
    assert {t.execution_id for t in seven} == {f"x-{n}" for n in range(7)}


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_what_another_rule_withholds_as_the_rule_is_settled_goes_after_that(
    rig: Rig,
    zart_server: ServerUnderTest,
    is_cancelled: bool,  # noqa: FBT001 - parametrized
) -> None:
    """It was answered as released; unless nothing of it is left. What becomes ready later is not."""
    await rig.start("x", STEPS)
    async with rig.locked(LAST):
        first = (await rig.client.pause(task_name="t")).rule_id
        assert (await rig.client.resume(rule_id=first, canary=2)).released_steps == 2
        other = (await rig.client.pause(step_pattern="s*")).rule_id
    await settled(rig)
    await rig.start("later", {"free": ()})
    await look_for_canaries(zart_server)
    assert await rig.statuses("later") == {"free": "PAUSED"}
    assert named(await rig.statuses(), "PAUSED") == set(STEPS)
    assert await promised(rig) == 2
    if is_cancelled:
        await rig.client.cancel_execution("x")
    else:
        await rig.client.resume(rule_id=other)
    await until_nothing_is_promised(rig)
    expected = set() if is_cancelled else {"s0", "s1"}
    assert named(await rig.statuses(), "SCHEDULED") == expected
    assert await rig.statuses("later") == {"free": "PAUSED"}


async def test_so_does_what_is_handed_to_another_rule_as_the_others_go(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """Then nothing of it is in the rule's own line, until the other rule ends."""
    await rig.start("x", {"a": (), "b": (), "s5": ()})
    async with rig.locked(LAST):
        first = (await rig.client.pause(task_name="t")).rule_id
        assert (await rig.client.resume(rule_id=first, canary=2)).released_steps == 2
        other = (await rig.client.pause(step_pattern="[bs]*")).rule_id
    await until_released(rig, 1)
    for _ in range(2):
        await look_for_canaries(zart_server)
        assert await promised(rig) == 1
    assert await rig.statuses() == {"a": "SCHEDULED", "b": "PAUSED", "s5": "PAUSED"}
    await rig.client.resume(rule_id=other)
    await until_released(rig, 2)
    assert await promised(rig) == 0
    assert await rig.statuses() == {"a": "SCHEDULED", "b": "SCHEDULED", "s5": "PAUSED"}


async def test_several_are_promised_no_more_than_there_is(rig: Rig, zart_database: str) -> None:
    for n in range(10):
        await rig.start(f"x-{n}", {"a": ()})
    async with settling(zart_database):
        rule_id = (await rig.client.pause(task_name="t")).rule_id
        for steps in (6, 4):
            answer = await rig.client.resume(rule_id=rule_id, canary=6)
            assert answer.released_steps == steps
        for plans in (True, False):
            with pytest.raises(errors.NothingPaused):
                await rig.client.resume(rule_id=rule_id, canary=1, validate_only=plans)
        assert await promised(rig) == 10


async def test_a_breaker_that_opens_again_takes_it_back(rig: Rig, zart_database: str) -> None:
    for n in range(3):
        await rig.start(f"before-{n}", {"charge": ()})
    async with settling(zart_database) as settle:
        breaker_id = await tripped(rig)
        rule_id = (await rig.client.get_breaker(breaker_id)).rule_id
        assert (await rig.client.resume(rule_id=rule_id, canary=2)).released_steps == 2
        await cool(rig)
        await until(rig.client, breaker_id, "HALF_OPEN")
        await rig.client.trip_breaker(breaker_id)
        assert await promised(rig) == 0
        await settle()
    await settled(rig)
    assert await rig.lease() == []


async def test_no_more_is_promised_than_was_found_beside_more_than_is_looked_at(
    rig: Rig, zart_database: str
) -> None:
    for n in range(3):
        await rig.start(f"x-{n}", {"pack": (), "ship": ()}, handler="h")
    await rig.db.execute(  # others with their handler, behind all but the last in the lane
        "INSERT INTO zart.queue SELECT c.* FROM zart.queue q, generate_series(1, $1) n,"
        " jsonb_populate_record(q, jsonb_build_object('run_key', -n, 'queue_no', q.queue_no + n)) c"
        " WHERE q.queue_no = (SELECT max(queue_no) FROM zart.queue WHERE step_name = 'pack')",
        LOOKED_AT,
    )
    async with settling(zart_database):
        rule_id = (await rig.client.pause(step_pattern="ship")).rule_id
        for _ in range(2):
            assert (await rig.client.resume(rule_id=rule_id, canary=1)).released_steps == 1
        with pytest.raises(errors.NothingPaused, match=f"of the {LOOKED_AT} steps"):
            await rig.client.resume(rule_id=rule_id, canary=1)
        assert await promised(rig) == 2
    await rig.db.execute("DELETE FROM zart.queue WHERE run_key < 0")
