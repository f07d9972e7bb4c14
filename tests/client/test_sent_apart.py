"""Outcomes whose calls fail with each of them alone: they are sent apart, and hold up no other."""

from __future__ import annotations

import asyncio

import pytest
from client.test_reporting import Reporting, reporting
from client.test_streamed import BY_CALL, BY_STREAM, NOTHING, scripted
from waiting import GIVE_UP, until

from zart.dispatcher import reporting as reporter
from zart.dispatcher.backoff import Backoff


async def tell(made: Reporting, number: int) -> None:
    """Report an outcome that nobody minds, and wait until it is recorded."""
    before = len(made.done)
    made.report(1, first=number)
    await until(lambda: len(made.done) > before)


async def test_an_outcome_that_somebody_minds_holds_up_no_other() -> None:
    async with reporting() as made:
        made.server.gate.set()
        made.server.minded = 7
        made.report(1, first=7)

        for _ in range(3):
            await until(lambda: made.reporter._apart and not made.reporter._on_their_way)
            made.server.asked_for.clear()
            made.done.clear()
            made.report(1, first=100)
            await until(lambda: made.done)
            assert ["100"] in made.server.asked_for
        assert not made.reporter._idle.is_set()
        made.server.minded = -1
        await asyncio.wait_for(made.reporter.flush(), GIVE_UP)
    assert len(made.done) == 2


async def test_the_room_of_an_outcome_that_somebody_minds_is_free_for_others() -> None:
    async with reporting() as made:
        made.server.gate.set()
        made.server.minded = 7
        made.report(1, first=7, leads_on=True)
        assert (made.room.expected, made.freed) == (1, 0)
        await until(lambda: made.reporter._apart)
        assert (made.room.expected, made.freed) == (0, 1)
        made.server.minded = -1


async def test_two_that_hang_at_once_hold_up_no_other() -> None:
    async with reporting() as made:
        made.server.gate.set()
        made.server.held = {"7", "8"}
        made.server.let_go.set()
        made.report(2, first=7)
        await until(lambda: len(made.reporter._apart) == 2)
        made.server.let_go.clear()
        made.server.asked_for.clear()
        await until(lambda: sorted(made.server.asked_for) == [["7"], ["8"]])
        for number in range(100, 110):
            await tell(made, number)
        assert made.server.asked_for[2:] == [[str(number)] for number in range(100, 110)]
        assert not made.reporter._idle.is_set()
        made.server.held.clear()
        made.server.let_go.set()
        await asyncio.wait_for(made.reporter.flush(), GIVE_UP)
    assert len(made.done) == 12


async def test_many_that_fail_alone_are_not_all_sent_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that is away fails all of them: each on its own would be no help to it."""
    monkeypatch.setattr(Backoff, "delay", lambda _: 0.01)
    async with reporting() as made:
        made.server.gate.set()
        made.server.held = {str(number) for number in range(10)}
        made.server.let_go.set()
        made.report(10)
        await until(lambda: len(made.reporter._apart) == reporter._APART)
        await until(lambda: len(made.server.asked_for) > 40)
        assert len(made.reporter._apart) == reporter._APART
        assert len(made.reporter.unanswered()) == 10
        made.server.held.clear()
        await asyncio.wait_for(made.reporter.flush(), GIVE_UP)
    assert len(made.done) == 10
    assert not made.reporter._apart


async def test_what_fails_by_itself_goes_by_a_call() -> None:
    """On the stream it would keep all others waiting, and end it for them once its time is up."""
    async with scripted() as (_, client):
        await client.proven()
        assert await client.report(NOTHING, apart=True) == BY_CALL
        assert await client.report(NOTHING) == BY_STREAM
