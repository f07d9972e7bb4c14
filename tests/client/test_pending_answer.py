"""An answer that a thread takes in hand is its caller's, or else given back."""

from __future__ import annotations

import asyncio
import time

import pytest
from waiting import block_until, until

from zart.dispatcher.in_hand import InHand, in_hand_of
from zart.dispatcher.pending_answer import PendingAnswer
from zart.v1 import dispatch_service_pb2 as pb

SECONDS = 0.05  # for an answer


def leased() -> list[InHand]:
    """Return one task in hand."""
    return in_hand_of([pb.LeasedTask(task_id="t")], time.monotonic())


async def test_an_answer_is_given_to_who_asked() -> None:
    in_hand = leased()
    pending = PendingAnswer(in_hand.extend)

    await asyncio.to_thread(pending.settle, "answer", in_hand, None)
    assert await pending.get() == ("answer", in_hand)


async def test_an_answer_may_be_an_error() -> None:
    pending = PendingAnswer(list[InHand]().extend)
    pending.settle(None, [], LookupError("no"))

    with pytest.raises(LookupError, match="no"):
        await pending.get()


async def test_an_answer_goes_before_the_end_of_the_time_if_the_loop_finds_both_at_once() -> None:
    late: list[InHand] = []
    in_hand = leased()
    pending = PendingAnswer(late.extend)

    def stand_still() -> None:
        pending.settle("answer", in_hand, None)
        block_until(lambda: time.monotonic() > asked_at + 2 * SECONDS)

    asked_at = time.monotonic()
    asyncio.get_running_loop().call_soon(stand_still)
    assert await pending.get(SECONDS) == ("answer", in_hand)
    assert late == []


async def test_an_error_goes_before_the_end_of_the_time_too() -> None:
    pending = PendingAnswer(list[InHand]().extend)

    def stand_still() -> None:
        pending.settle(None, [], LookupError("no"))
        block_until(lambda: time.monotonic() > asked_at + 2 * SECONDS)

    asked_at = time.monotonic()
    asyncio.get_running_loop().call_soon(stand_still)
    with pytest.raises(LookupError, match="no"):
        await pending.get(SECONDS)


async def test_what_comes_after_the_end_of_the_time_is_given_back() -> None:
    late: list[InHand] = []
    in_hand = leased()
    pending = PendingAnswer(late.extend)
    with pytest.raises(TimeoutError):
        await pending.get(0.0)

    pending.settle("answer", in_hand, None)
    await until(lambda: late)
    assert late == in_hand


async def test_who_was_cancelled_has_left_once_its_tasks_are_given_back() -> None:
    late: list[InHand] = []
    in_hand = leased()
    pending = PendingAnswer(late.extend)
    asking = asyncio.create_task(pending.get())
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    calling_off = asyncio.create_task(pending.call_off())
    await asyncio.sleep(0)
    assert not calling_off.done()

    pending.settle("answer", in_hand, None)
    await calling_off
    assert late == in_hand


async def test_an_answer_that_came_as_its_caller_left_is_given_back_once() -> None:
    late: list[InHand] = []
    in_hand = leased()
    pending = PendingAnswer(late.extend)
    pending.settle("answer", in_hand, None)
    await pending.get()

    await pending.call_off()
    assert late == in_hand


def test_an_answer_to_a_loop_that_is_closed_is_nobodys() -> None:
    async def ask() -> PendingAnswer:
        return PendingAnswer(list[InHand]().extend)

    asyncio.run(ask()).settle("answer", leased(), None)
