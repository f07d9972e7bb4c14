"""Long polls that wait in line: a wake-up that one of them makes no use of is the next one's."""

from __future__ import annotations

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
