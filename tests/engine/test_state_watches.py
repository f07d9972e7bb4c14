"""How often a watch of what is small tells: not too often, and now and then the same again."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Mapping, Sequence
from contextlib import aclosing

import pytest
from waiting import GIVE_UP

from zart_server.domain.errors import ZartError
from zart_server.engine.background.state_watches import StateWatches
from zart_server.engine.background.watches import Watches

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


@pytest.mark.parametrize("kind", [StateWatches, Watches])
def test_the_15_seconds_that_are_promised_leave_one_for_the_way(kind: type[object]) -> None:
    assert inspect.signature(kind).parameters["longest"].default == 14


async def test_who_begins_waits_for_no_other_read() -> None:
    begun, let_go = asyncio.Event(), asyncio.Event()

    async def read(keys: Sequence[str]) -> Mapping[str, str]:
        if "slow" in keys:
            begun.set()
            await let_go.wait()
        return dict.fromkeys(keys, "read")

    watches: StateWatches[str, str] = StateWatches(read, "watches of which one is slow")
    slow = watches.watch("slow", lambda _state: False)
    waiting = asyncio.ensure_future(anext(slow))
    await begun.wait()
    for name in ("quick", "another"):
        async with asyncio.timeout(GIVE_UP), aclosing(watches.watch(name, bool)) as messages:
            assert await anext(messages) == "read"
    assert not waiting.done()
    let_go.set()
    assert await waiting == "read"
    await slow.aclose()
    watches.stop()


async def test_an_error_ends_the_watches_of_what_it_is_of() -> None:
    failing = {"bad"}

    async def read(keys: Sequence[str]) -> Mapping[str, int]:
        if failing.intersection(keys):
            raise LookupError
        return dict.fromkeys(keys, len(failing))

    watches: StateWatches[str, int] = StateWatches(read, "watches of which some fail")
    bad, good, worse = (watches.watch(name, lambda _state: False) for name in ("bad", "good", "x"))
    async with aclosing(bad), aclosing(good), aclosing(worse), asyncio.timeout(GIVE_UP):
        told: list[object] = await asyncio.gather(
            anext(bad), anext(good), anext(worse), return_exceptions=True
        )
        assert isinstance(told[0], LookupError)
        assert told[1:] == [1, 1]
        failing.add("x")  # which is read together with what is good
        watches.look()
        assert await anext(good) == 2
        with pytest.raises(LookupError):
            await anext(worse)
    watches.stop()


async def test_what_a_read_leaves_out_is_told_once_it_is_found() -> None:
    found: dict[str, str] = {}
    asked = asyncio.Event()

    async def read(_keys: Sequence[str]) -> Mapping[str, str]:
        asked.set()
        return dict(found)

    watches: StateWatches[str, str] = StateWatches(read, "watches of what is found later")
    async with aclosing(watches.watch("x", bool)) as messages, asyncio.timeout(GIVE_UP):
        first = asyncio.ensure_future(anext(messages))
        await asked.wait()
        found["x"] = "found"
        assert watches.look_at("x")
        assert await first == "found"
    assert not watches.look_at("x")
    watches.stop()
