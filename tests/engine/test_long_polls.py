"""Long polls that wait in line: a wake-up that one of them makes no use of is the next one's."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import pytest
from waiting import GIVE_UP

from zart_server.domain.dispatch import LeaseTasks
from zart_server.engine.dispatch.long_polls import LongPoll, LongPolls

LANE = ("t", "h")
COMMAND = LeaseTasks("d", ("t",), (), 1, timedelta(0), timedelta(seconds=30))


async def left_while(happens: Callable[[LongPoll], object]) -> LongPoll:
    """Wake the first of two calls, and have it end after that; return the other."""
    long_polls = LongPolls()
    with ExitStack() as first, ExitStack() as other:
        leaving = first.enter_context(long_polls.register(COMMAND))
        staying = other.enter_context(long_polls.register(COMMAND))
        long_polls.wake({LANE: 1})
        assert await leaving.wait(GIVE_UP)
        happens(leaving)
        first.close()
        return staying


async def test_a_call_that_ends_without_a_look_wakes_the_next() -> None:
    """It had found other tasks by then, its time was up, or its caller was gone."""
    staying = await left_while(lambda _: None)

    assert await staying.wait(GIVE_UP)


async def test_a_call_that_looks_wakes_nobody() -> None:
    staying = await left_while(LongPoll.begins_to_look)

    assert not await staying.wait(0)


@pytest.mark.parametrize("lanes", [{("other", "h"): 1}, {}])
async def test_a_call_that_was_not_woken_wakes_nobody(lanes: dict[tuple[str, str], int]) -> None:
    long_polls = LongPolls()
    with ExitStack() as first, ExitStack() as other:
        first.enter_context(long_polls.register(COMMAND))
        staying = other.enter_context(long_polls.register(COMMAND))
        long_polls.wake(lanes)
        first.close()

        assert not await staying.wait(0)


async def test_as_many_are_woken_as_tasks_were_announced_for_the_call_that_ends() -> None:
    """It was woken for 50 tasks while its look was under way, and answers what that had found."""
    long_polls = LongPolls()
    with ExitStack() as first, ExitStack() as others:
        first.enter_context(long_polls.register(replace(COMMAND, max_tasks=50)))
        staying = [others.enter_context(long_polls.register(COMMAND)) for _ in range(60)]
        long_polls.wake({LANE: 45})
        assert not [poll for poll in staying if poll.unseen]

        first.close()

        assert [await poll.wait(0) for poll in staying] == [True] * 45 + [False] * 15


async def test_a_call_takes_all_that_it_has_room_for_before_the_next_one_is_woken() -> None:
    """With one lane each, the first took all with its look, and the second looked in vain."""
    lanes = {("t", "a"): 3, ("t", "b"): 4}
    long_polls = LongPolls()
    with ExitStack() as first, ExitStack() as other:
        command = replace(COMMAND, max_tasks=10)
        leaving = first.enter_context(long_polls.register(command))
        staying = other.enter_context(long_polls.register(command))
        long_polls.wake(lanes)
        assert (leaving.unseen, staying.unseen) == (lanes, {})
        long_polls.wake({("t", "c"): 1})  # it is the other's turn
        assert (leaving.unseen, staying.unseen) == (lanes, {("t", "c"): 1})
        assert staying.begins_to_look() == {("t", "c"): 1}
        long_polls.requeue(staying)

        first.close()  # without a look

        assert staying.unseen == lanes


async def test_each_lane_wakes_the_oldest_that_take_it() -> None:
    lanes = {("t", "a"): 3, ("t", "b"): 0, ("u", "a"): 1, ("t", "c"): 9}
    asked: dict[str, tuple[str, ...]] = {
        "b": ("b",), "ab": ("a", "b"), "any": (), "c": ("c",), "a": ("a",), "none": ("none",)
    }  # fmt: skip
    long_polls = LongPolls()
    with ExitStack() as until_asked:
        polls = {
            name: until_asked.enter_context(
                long_polls.register(replace(COMMAND, handlers=handlers, max_tasks=2))
            )
            for name, handlers in asked.items()
        }
        long_polls.wake(lanes)

        assert {name: poll.unseen for name, poll in polls.items() if poll.unseen} == {
            "ab": {("t", "a"): 2},
            "any": {("t", "a"): 1, ("t", "c"): 1},
            "c": {("t", "c"): 2},
        }
        assert long_polls.asked_for(lanes) == {("t", "a"), ("t", "b")}  # by those still in line


async def test_ten_thousand_lanes_that_nobody_waits_for_cost_next_to_nothing() -> None:
    """Each call was looked at for each lane: for over a second, in one step of the loop."""
    lanes = {("t", f"h{n}"): 1 for n in range(10_000)}
    long_polls = LongPolls()
    with ExitStack() as until_asked:
        for n in range(1000):
            command = replace(COMMAND, handlers=(f"another-{n}", "h9999") if n == 500 else ("x",))
            until_asked.enter_context(long_polls.register(command))
        begun = time.thread_time()
        asked_for = long_polls.asked_for(lanes)
        long_polls.wake(lanes)
        took = time.thread_time() - begun

        assert asked_for == {("t", "h9999")}
        assert took < 0.2
