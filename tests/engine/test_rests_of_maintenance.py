"""Maintenance looks seldom for tasks that back off, however many do: each look rests after the last."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from rig import LONG, Rig, until_polled
from waiting import GIVE_UP, eventually, until

from zart.testing.server import ServerUnderTest
from zart_server.engine.background.maintenance import _until_due
from zart_server.engine.background.rule_looks import _until_end
from zart_server.engine.dispatch.due_soon import DueSoon
from zart_server.store.changes import Changes

A = ("t", "a")


async def within(server: ServerUnderTest, what: Callable[[], Any]) -> Any:
    """Do something in the server's loop, at once."""

    async def do() -> Any:
        return what()

    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(do(), server.loop))


@pytest.fixture
async def standing(zart_server: ServerUnderTest) -> ServerUnderTest:
    """A server whose maintenance takes no turn but those that a test has it take."""
    maintenance = zart_server.running.runtime.maintenance
    stopping = maintenance.stop()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(stopping, zart_server.loop))
    maintenance._timers.clear()
    maintenance._kicked.clear()
    return zart_server


async def test_a_look_is_set_for_what_others_queued_and_none_for_what_is_known_here(
    standing: ServerUnderTest,
) -> None:
    runtime = standing.running.runtime
    delayed = Changes()
    delayed.queued(*A, 0.9)

    def timers_after(tell: Callable[[Changes], None]) -> tuple[int, int]:
        tell(delayed)
        return len(runtime.maintenance._timers), len(runtime.due_soon._timers)

    # In one turn of the loop: the first timer rings in less than a second.
    found = await within(
        standing, lambda: [timers_after(runtime._committed), timers_after(runtime._heard_of_others)]
    )
    assert found == [(0, 1), (1, 1)]


async def test_a_look_that_is_due_amid_a_rest_waits_for_its_end(standing: ServerUnderTest) -> None:
    maintenance = standing.running.runtime.maintenance

    def is_looked_for(rest: float) -> tuple[bool, int]:
        maintenance._rests_until = time.monotonic() + rest
        maintenance.kick_in(0.5)
        (timer,) = maintenance._timers
        timer.cancel()
        maintenance._is_due(timer)
        found = maintenance.is_kicked, len(maintenance._timers)
        for left in maintenance._timers:
            left.cancel()
        maintenance._timers.clear()
        maintenance._kicked.clear()
        return found

    assert await within(standing, lambda: is_looked_for(0.9)) == (False, 1)
    assert await within(standing, lambda: is_looked_for(-0.1)) == (True, 0)


async def test_a_turn_is_followed_by_a_rest_and_whoever_calls_for_one_gets_it_all_the_same(
    standing: ServerUnderTest,
) -> None:
    maintenance = standing.running.runtime.maintenance
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(maintenance.turn(), standing.loop))
    rest = maintenance._rests_until - maintenance._over_at

    assert 0 < rest < 0.101
    maintenance._rests_until = math.inf
    await within(standing, maintenance.kick)
    assert maintenance.is_kicked


class Telling(DueSoon):
    """Wakes calls for whatever is due."""

    def tells(self, lane: tuple[str, str], due_in: float) -> bool:
        return lane == A and due_in > 0


@contextlib.asynccontextmanager
async def waited_for(server: ServerUnderTest, rig: Rig) -> AsyncIterator[None]:
    """Have a task that is due much later, and one call that waits for it and does nothing else."""
    await rig.start(str(uuid.uuid4()), {"a": ()})
    await rig.db.execute("UPDATE zart.queue SET not_before = now() + interval '1 hour'")
    polling = asyncio.create_task(rig.lease(wait=LONG))
    await until_polled(server)
    yield
    polling.cancel()
    await asyncio.wait([polling])
    line = server.running.runtime.dispatch.long_polls._waiting
    await until(lambda: not list(line))


async def test_no_turn_is_hastened_by_tasks_of_which_calls_are_woken_anyway(
    standing: ServerUnderTest, rig: Rig
) -> None:
    maintenance, loop = standing.running.runtime.maintenance, standing.loop

    async def look() -> tuple[bool, bool]:
        """Return whether a look leaves the task to others, and whether it was not due by then."""
        async with waited_for(standing, rig):
            due = "clock_timestamp() + interval '0.99 s'"
            await rig.db.execute(f"UPDATE zart.queue SET not_before = {due}")
            turn = asyncio.run_coroutine_threadsafe(maintenance.turn(), loop)
            pause = await asyncio.wrap_future(turn)
            is_due_later = "SELECT min(not_before) > clock_timestamp() FROM zart.queue"
            return pause == 1.0, bool(await rig.db.fetchval(is_due_later))

    async def is_left_to_others() -> bool:
        seen = (False, False)
        async with asyncio.timeout(GIVE_UP):
            while not seen[1]:  # a look at what is due tells nothing of this
                seen = await look()
        return seen[0]

    assert not await is_left_to_others()
    maintenance._due_soon = Telling(standing.running.runtime.dispatch.long_polls)
    await eventually(is_left_to_others)


@pytest.mark.parametrize(
    ("due_in", "rest", "pause"),
    [
        ([], 0.05, 1.0),
        ([0.3, 0.2], 0.05, 0.2),
        ([0.2, 0.001], 0.05, 0.05),
        ([0.001], 0.002, 0.01),
        ([7.0], 0.05, 1.0),
    ],
)
def test_due_tasks_wait_for_the_end_of_a_rest(
    due_in: list[float], rest: float, pause: float
) -> None:
    assert _until_due(due_in, rest) == pause


@pytest.mark.parametrize(
    ("expires_in", "pause"), [(None, 1.0), (5.0, 1.0), (0.02, 0.02), (0.001, 0.01), (-1.0, 1.0)]
)
def test_the_end_of_a_rule_is_looked_for_as_it_comes(
    expires_in: float | None, pause: float
) -> None:
    assert _until_end(expires_in) == pause
