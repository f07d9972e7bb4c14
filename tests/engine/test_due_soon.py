"""Who waits for a task that backs off is woken once it is due, without a look into the database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from rig import LONG, Rig, until_polled
from standing_clock import StandingClock

import zart
from zart.testing.server import ServerUnderTest
from zart_server.engine.dispatch.due_soon import DueSoon
from zart_server.engine.dispatch.long_polls import LongPolls
from zart_server.store.changes import Changes

A, B = ("t", "a"), ("t", "b")


class Noted(LongPolls):
    """Keeps which lanes calls were woken for, and when: in milliseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.woken: list[tuple[int, dict[tuple[str, str], int]]] = []

    def wake(self, lanes: Mapping[tuple[str, str], int]) -> None:
        """Note it as well."""
        self.woken.append((round(asyncio.get_running_loop().time() * 1000), dict(lanes)))
        super().wake(lanes)


async def let_pass(clock: StandingClock, milliseconds: int) -> None:
    for _ in range(milliseconds):
        await clock.passed(0.001)


def test_calls_are_woken_after_each_delay_and_once_for_those_that_end_together() -> None:
    polls = Noted()

    async def retried() -> None:
        due_soon = DueSoon(polls)
        due_soon.add([(0.005, A), (0.03, A), (0.03, B), (0.9, A)])
        await let_pass(clock, 4)
        due_soon.add([(0.03, A)])  # due at 34 ms, so in the same moment as those before
        assert len(due_soon._timers) == 3
        await let_pass(clock, 46)
        assert len(due_soon._timers) == 1
        await clock.passed(0.85)
        await let_pass(clock, 30)
        assert not due_soon._timers
        assert not due_soon._lanes

    with contextlib.closing(StandingClock()) as clock:
        clock.run_until_complete(retried())

    assert polls.woken == [(25, {A: 1}), (50, {A: 2, B: 1}), (925, {A: 1})]


def test_it_tells_for_which_tasks_calls_are_woken_in_time() -> None:
    async def told() -> None:
        due_soon = DueSoon(LongPolls())
        due_soon.add([(0.5, A)])  # told at 525 ms
        found = {n: due_soon.tells(A, n / 1000) for n in (10, 400, 430, 500, 520, 530, 600)}
        assert found == {
            10: False,
            400: False,
            430: True,
            500: True,
            520: True,
            530: False,
            600: False,
        }
        assert not due_soon.tells(B, 0.5)
        await clock.passed(0.5)
        assert due_soon.tells(A, 0.001)
        await clock.passed(0.03)
        assert not due_soon.tells(A, 0.0)

    with contextlib.closing(StandingClock()) as clock:
        clock.run_until_complete(told())


def test_whoever_stops_wakes_nobody_any_more() -> None:
    polls = Noted()

    async def stopped() -> None:
        due_soon = DueSoon(polls)
        due_soon.add([(0.005, A), (0.9, B)])
        due_soon.stop()
        await clock.passed(1.0)

    with contextlib.closing(StandingClock()) as clock:
        clock.run_until_complete(stopped())

    assert polls.woken == []


def test_only_what_is_due_before_the_next_look_of_maintenance_is_noted() -> None:
    changes = Changes()
    for delay in (0.0, 0.25, 1.0, 60.0):
        changes.queued("t", "a", delay)
    changes.queued("t", "b", 0.5, count=2)

    assert changes.soon == [(0.25, A), (0.5, B), (0.5, B)]
    assert changes.lanes == {A: 1}
    assert changes.due_in == 0.25


async def test_a_retry_is_leased_where_nothing_looks_for_it(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """Nothing but a wake-up: the call would look again at its deadline only."""
    runtime = zart_server.running.runtime
    stopping = runtime.maintenance.stop()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(stopping, zart_server.loop))
    await rig.start("x", {"a": ()}, retry=zart.Retry(max_attempts=2, initial_backoff=0.9))
    task = await rig.lease_one("a")
    polling = asyncio.create_task(rig.lease(wait=LONG))
    await until_polled(zart_server)
    assert await rig.fail(task, retryable=True) == "RECORDED"

    async with asyncio.timeout(LONG / 2):
        (again,) = await polling
    assert again.attempt == 2
