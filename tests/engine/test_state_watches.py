"""How often a watch of what is small tells: not too often, and now and then the same again."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Mapping, Sequence
from contextlib import aclosing

from zart_server.domain.errors import ZartError
from zart_server.engine.background.state_watches import StateWatches

MESSAGES = 4


async def test_what_changes_all_the_time_is_told_five_times_a_second_at_most() -> None:
    states = itertools.count()
    now = asyncio.get_running_loop().time

    async def read(keys: Sequence[str]) -> Mapping[str, int | ZartError]:
        watches.look()  # it has changed again
        return dict.fromkeys(keys, next(states))

    watches: StateWatches[str, int] = StateWatches(read, "watches of a number")
    told: list[int] = []
    times: list[float] = []
    async with aclosing(watches.watch("x", lambda _state: len(told) == MESSAGES)) as messages:
        async for state in messages:
            told.append(state)
            times.append(now())
    assert len(set(told)) == MESSAGES
    assert times[-1] - times[0] >= 0.2 * (MESSAGES - 1) - 0.01


async def test_what_does_not_change_is_told_again_after_a_while() -> None:
    async def read(keys: Sequence[str]) -> Mapping[str, str | ZartError]:
        return dict.fromkeys(keys, "the same")

    watches: StateWatches[str, str]
    watches = StateWatches(read, "watches of what stays", longest=0.01)
    told: list[str] = []
    async with aclosing(watches.watch("x", lambda _state: len(told) == MESSAGES)) as messages:
        async for state in messages:
            told.append(state)
    assert told == ["the same"] * MESSAGES
    assert inspect.signature(StateWatches).parameters["longest"].default == 15
