"""Slots: what runs, what waits, what is given up."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from waiting import GIVE_UP, for_ever, until

from zart.calls.call import span
from zart.dispatcher.in_hand import InHand, in_hand_of
from zart.dispatcher.pace import Pace
from zart.dispatcher.slots import Slots
from zart.v1 import dispatch_service_pb2 as pb

Begin = Callable[[InHand], None]
EAGER: Any = getattr(asyncio, "eager_task_factory", None)  # from Python 3.12 on
_where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="nowhere")


def in_hand(name: str, timeout: float = 60) -> InHand:
    """A task under lease."""
    task = pb.LeasedTask(step_name=name, timeout=span(timeout), lease_ttl=span(30))
    (made,) = in_hand_of([task], asyncio.get_running_loop().time())
    return made


async def test_tasks_run_in_order_a_few_at_once_and_a_stop_starts_no_more() -> None:
    begun: list[str] = []
    gates = {name: asyncio.Event() for name in "abcd"}

    async def attempt(task: InHand, _: Begin) -> None:
        begun.append(task.task.step_name)
        await gates[task.task.step_name].wait()

    freed: list[int] = []
    slots = Slots(2, attempt, lambda: freed.append(len(slots)), Pace(2))
    slots.add(in_hand(name) for name in "abcd")
    await asyncio.sleep(0)
    assert (begun, len(slots)) == (["a", "b"], 4)
    gates["b"].set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert (begun, freed) == (["a", "b", "c"], [3])
    slots.stop()
    for gate in gates.values():
        gate.set()
    await slots.wait(GIVE_UP)
    assert (begun, len(slots)) == (["a", "b", "c"], 0)


async def test_what_is_lost_before_it_begins_still_gives_its_slot_back() -> None:
    flags: list[tuple[str, bool]] = []

    async def attempt(task: InHand, _: Begin) -> None:
        flags.append((task.task.step_name, task.lost))

    slots = Slots(2, attempt, lambda: None, Pace(2))
    lost, fine = in_hand("lost"), in_hand("fine")
    slots.add([lost, fine])
    lost.lose()
    await slots.wait(GIVE_UP)
    assert flags == [("lost", True), ("fine", False)]
    assert len(slots) == 0


async def test_what_an_attempt_sets_in_its_context_is_gone_with_it() -> None:
    seen: list[str] = []

    async def attempt(task: InHand, _: Begin) -> None:
        seen.append(_where.get())
        _where.set(task.task.step_name)

    _where.set("around")
    slots = Slots(1, attempt, lambda: None, Pace(1))
    slots.add(in_hand(name) for name in "abc")
    await until(lambda: not len(slots))
    assert seen == ["around"] * 3


async def test_a_wait_for_a_slot_or_before_the_handler_takes_nothing_of_the_time_limit() -> None:
    limit, told = 0.5, dict[str, tuple[bool, float, float]]()
    clock = asyncio.get_running_loop().time

    async def attempt(task: InHand, begin_time: Begin) -> None:
        ready_at = clock() + 2 * limit
        await until(lambda: clock() > ready_at)
        begin_time(task)
        left = (task.context.deadline - datetime.now(UTC)).total_seconds()
        told[task.task.step_name] = task.expired, task.deadline - clock(), left

    slots = Slots(1, attempt, lambda: None, Pace(1))
    slots.add([in_hand("first", limit), in_hand("second", limit)])
    await until(lambda: not len(slots))
    assert list(told) == ["first", "second"]
    for expired, of_loop, of_context in told.values():
        assert not expired
        assert 0 < of_loop <= limit
        assert 0 < of_context <= limit


async def test_a_handler_ends_with_its_time_limit_while_another_has_not_begun() -> None:
    ended: list[str] = []

    async def attempt(task: InHand, begin_time: Begin) -> None:
        if task is not fetching:
            begin_time(task)
        try:
            await for_ever()
        except asyncio.CancelledError:
            ended.append(task.task.step_name)

    slots = Slots(3, attempt, lambda: None, Pace(3))
    short, longer, fetching = in_hand("a", 0.01), in_hand("b", 0.02), in_hand("c", 0.0)
    slots.add([longer, short, fetching])
    await until(lambda: len(slots) == 1)
    assert sorted(ended) == ["a", "b"]
    assert not fetching.expired
    fetching.lose()
    await slots.wait(GIVE_UP)
    slots.stop()


async def test_what_waited_longer_than_its_lease_has_less_for_the_server_ends_it() -> None:
    found, now = in_hand("a", 60), asyncio.get_running_loop().time()
    found.begin_by = now - 20
    found.begin_time(now)
    assert found.deadline == pytest.approx(now + 40)
    left = (found.context.deadline - datetime.now(UTC)).total_seconds()
    assert left == pytest.approx(40, abs=5)


@pytest.mark.skipif(EAGER is None, reason="no task of this Python begins where it is made")
async def test_each_begins_in_a_turn_of_its_own_where_tasks_begin_as_they_are_made() -> None:
    """Else each of many quick ones would begin within the end of the one before."""
    own: list[bool] = []

    async def attempt(task: InHand, _: Begin) -> None:
        own.append(task.is_running_here())

    asyncio.get_running_loop().set_task_factory(EAGER)
    slots = Slots(2, attempt, lambda: None, Pace(2))
    slots.add(in_hand(str(n)) for n in range(2000))
    await until(lambda: not len(slots))
    assert own == [True] * 2000
