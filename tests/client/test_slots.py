"""Slots and pace: what runs, what waits, how many tasks are worth a call."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from zart.calls.call import span
from zart.dispatcher.held import Held
from zart.dispatcher.pace import PATIENCE, Pace
from zart.dispatcher.slots import Slots
from zart.v1 import dispatch_service_pb2 as pb


def held(name: str, timeout: float = 60) -> Held:
    """A task under lease."""
    task = pb.LeasedTask(step_name=name, timeout=span(timeout), lease_ttl=span(30))
    now = asyncio.get_running_loop().time()
    return Held.of(task, now, now, datetime.now(UTC))


async def test_tasks_run_in_order_a_few_at_once_and_a_stop_starts_no_more() -> None:
    begun: list[str] = []
    gates = {name: asyncio.Event() for name in "abcd"}

    async def attempt(task: Held) -> None:
        begun.append(task.task.step_name)
        await gates[task.task.step_name].wait()

    freed: list[int] = []
    slots = Slots(2, attempt, lambda: freed.append(len(slots)))
    slots.add(held(name) for name in "abcd")
    await asyncio.sleep(0)
    assert (begun, len(slots)) == (["a", "b"], 4)
    gates["b"].set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert (begun, freed) == (["a", "b", "c"], [3])
    slots.stop()
    for gate in gates.values():
        gate.set()
    await slots.wait(1)
    assert (begun, len(slots)) == (["a", "b", "c"], 0)


async def test_what_is_lost_or_expired_before_it_begins_still_gives_its_slot_back() -> None:
    flags: list[tuple[str, bool, bool]] = []

    async def attempt(task: Held) -> None:
        flags.append((task.task.step_name, task.lost, task.expired))

    slots = Slots(3, attempt, lambda: None)
    lost, expired, fine = held("lost"), held("expired"), held("fine")
    slots.add([lost, expired, fine])
    lost.lose()
    expired.expire()
    await slots.wait(1)
    assert flags == [("lost", True, False), ("expired", False, True), ("fine", False, False)]
    assert len(slots) == 0


def test_an_idle_dispatcher_asks_at_once_for_all_its_slots() -> None:
    pace = Pace(16, now=0.0)
    assert pace.room(busy=0, held=0, now=1.0, answered_at=1.0) == 16
    assert pace.room(busy=12, held=12, now=1.0, answered_at=1.0) == 4
    assert Pace(1, now=0.0).room(busy=0, held=0, now=1.0, answered_at=1.0) == 1


def test_a_busy_one_lets_a_few_slots_gather_but_not_for_long() -> None:
    pace = Pace(16, now=0.0)
    assert pace.room(busy=13, held=13, now=1.0, answered_at=1.0) == 0
    assert pace.room(busy=13, held=13, now=1.0 + 2 * PATIENCE, answered_at=1.0) == 3
    assert pace.room(busy=16, held=16, now=9.0, answered_at=1.0) == 0


@pytest.mark.parametrize(
    ("concurrency", "in_a_second", "ahead"),
    [(16, 100, 0), (16, 159, 0), (16, 1_000, 100), (16, 1_000_000, 984), (256, 2_000, 0)],
)
def test_it_leases_a_tenth_of_a_second_ahead_where_that_is_more_than_its_slots(
    concurrency: int, in_a_second: int, ahead: int
) -> None:
    pace = Pace(concurrency, now=0.0)
    for _ in range(in_a_second):
        pace.one_ended()
    assert pace.room(busy=0, held=0, now=1.0, answered_at=0.0) == concurrency + ahead
    # A second without an end, and nothing more is hoarded.
    assert pace.room(busy=0, held=0, now=2.0, answered_at=0.0) == concurrency


def test_a_server_that_is_behind_with_recording_is_not_asked_for_more() -> None:
    pace = Pace(16, now=0.0)
    assert pace.room(busy=0, held=2_000, now=1.0, answered_at=0.0) == 16
    assert pace.room(busy=0, held=2_010, now=1.0, answered_at=0.0) == 6
    assert pace.room(busy=0, held=2_100, now=1.0, answered_at=0.0) == 0
