"""Slots: what runs, what waits, what is given up."""

from __future__ import annotations

import asyncio

from waiting import GIVE_UP

from zart.calls.call import span
from zart.dispatcher.in_hand import InHand, in_hand_of
from zart.dispatcher.pace import Pace
from zart.dispatcher.slots import Slots
from zart.v1 import dispatch_service_pb2 as pb


def in_hand(name: str, timeout: float = 60) -> InHand:
    """A task under lease."""
    task = pb.LeasedTask(step_name=name, timeout=span(timeout), lease_ttl=span(30))
    (made,) = in_hand_of([task], asyncio.get_running_loop().time())
    return made


async def test_tasks_run_in_order_a_few_at_once_and_a_stop_starts_no_more() -> None:
    begun: list[str] = []
    gates = {name: asyncio.Event() for name in "abcd"}

    async def attempt(task: InHand) -> None:
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


async def test_what_is_lost_or_expired_before_it_begins_still_gives_its_slot_back() -> None:
    flags: list[tuple[str, bool, bool]] = []

    async def attempt(task: InHand) -> None:
        flags.append((task.task.step_name, task.lost, task.expired))

    slots = Slots(3, attempt, lambda: None, Pace(3))
    lost, expired, fine = in_hand("lost"), in_hand("expired"), in_hand("fine")
    slots.add([lost, expired, fine])
    lost.lose()
    expired.expire()
    await slots.wait(GIVE_UP)
    assert flags == [("lost", True, False), ("expired", False, True), ("fine", False, False)]
    assert len(slots) == 0
