"""Long polls that came too early for a look at all lanes: they look later, or another has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from lanes import queue, wanting
from rig import LONG
from waiting import until

from zart_server.domain.dispatch import LeasedTask
from zart_server.domain.errors import StoreUnavailable
from zart_server.engine.dispatch.dispatch import _AFTER_A_FAILURE, Dispatch
from zart_server.engine.dispatch.lease import lease_tasks
from zart_server.engine.dispatch.low_water import LowWater
from zart_server.engine.dispatch.tally import Tally
from zart_server.engine.dispatch.waiting_room import WaitingRoom
from zart_server.store.claims import ClaimResult
from zart_server.store.db import Database
from zart_server.store.due import Begin
from zart_server.store.pausing.rules import SHARE_PAUSE_LOCK

LOOK = ClaimResult(
    [], {2**30: (datetime.now(UTC), 1)}, True, False, False, False, 60.0, datetime.now(UTC)
)


class Early(LowWater):
    """Has the first claim come too early, and the rest be over at once, before its commit.

    The lanes told have nothing left. ``empties``: the look that ended the rest left nothing either.
    """

    def __init__(self, *, empties: bool) -> None:
        super().__init__()
        self.empties = empties
        self.claims = 0
        self.refused = 0
        for _ in range(2):
            self.claimed(["t"], [], Begin(), LOOK, is_enough=False)

    def to_claim(self, task_names: Sequence[str], handlers: Sequence[str]) -> Begin:
        self.claims += 1
        return super().to_claim(task_names, handlers)

    def take_look(self, task_names: Sequence[str], handlers: Sequence[str]) -> bool:
        may = super().take_look(task_names, handlers)
        if not may:
            self.refused += 1
            self.claimed(["t"], [], Begin(), replace(LOOK, seconds=0.0), is_enough=False)
            if self.empties:
                self.emptied(["t"], [], time.monotonic())
        return may


def dispatching(store: Database, low_water: LowWater) -> Dispatch:
    """Have nothing but calls look for tasks: no maintenance, and no wake-ups."""
    dispatch = Dispatch(store, WaitingRoom(1), Tally())
    dispatch.low_water = low_water
    return dispatch


@pytest.mark.parametrize("seconds", [0.01, LONG])
async def test_a_rest_that_is_over_before_the_commit_is_not_slept_out(
    store: Database, seconds: float
) -> None:
    """However little time is left: no call ends with nothing that has not seen all lanes."""
    await queue(store, 20, 1)
    low_water = Early(empties=False)
    dispatch = dispatching(store, low_water)

    found = await dispatch.lease(replace(wanting(100), wait=timedelta(seconds=seconds)))

    assert (len(found), low_water.refused) == (20, 1)


async def test_a_call_looks_no_more_where_the_look_of_another_has_left_nothing(
    store: Database,
) -> None:
    """Until it is woken; else calls that wait for the same lanes look one after the other."""
    low_water = Early(empties=True)
    dispatch = dispatching(store, low_water)
    polling = asyncio.create_task(
        dispatch.lease(replace(wanting(100), wait=timedelta(seconds=LONG)))
    )
    await until(lambda: low_water.refused)
    await until(lambda: [poll for poll in dispatch.long_polls._waiting if poll._is_idle])
    assert low_water.claims == 1

    await queue(store, 20, 1)
    dispatch.long_polls.wake({("t", "h0"): 1})

    assert len(await polling) == 20
    assert low_water.claims == 2


async def test_a_call_that_has_seen_nothing_looks_at_its_deadline(store: Database) -> None:
    """Though the look of another has left nothing: what came since may have been nobody's."""
    await queue(store, 20, 1)
    dispatch = dispatching(store, Early(empties=True))

    found = await dispatch.lease(replace(wanting(100), wait=timedelta(seconds=0.01)))

    assert len(found) == 20


async def test_a_look_that_puts_tasks_back_has_left_some(store: Database) -> None:
    """Of two tasks only one fits into a response; nobody announces the other."""
    await queue(store, 2, 1, payload=f'"{"x" * 5 * 1024 * 1024}"')
    low_water, began = LowWater(), time.monotonic()
    emptied = []
    for _ in range(2):
        async with store.transaction(first=SHARE_PAUSE_LOCK) as tx:
            assert len(await lease_tasks(tx, wanting(100), low_water)) == 1
        emptied.append(low_water.is_emptied(["t"], [], began))

    assert emptied == [False, True]


class OneLane(LowWater):
    """Has the next claims look at one lane only, each, as it is too early for a look at all."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes: list[int] = []

    def to_claim(self, task_names: Sequence[str], handlers: Sequence[str]) -> Begin:
        if not self.lanes:
            return super().to_claim(task_names, handlers)
        return Begin({self.lanes[0]: (datetime(2000, 1, 1, tzinfo=UTC), 0)}, is_only=True)

    def take_look(self, task_names: Sequence[str], handlers: Sequence[str]) -> bool:
        if self.lanes:
            self.lanes.pop(0)
            return False
        return super().take_look(task_names, handlers)


_NO_LANE = 2**30


async def lane_of(store: Database, handler: str) -> int:
    """Return the number of a lane."""
    async with store.autocommit() as connection:
        sql = "SELECT lane FROM zart.lanes WHERE handler = $1"
        found: int = await connection.fetchval(sql, handler)
    return found


async def waiting(dispatch: Dispatch, *most: int) -> list[asyncio.Task[list[LeasedTask]]]:
    """Have calls wait, one after the other, for so many tasks each of any lane."""
    polling = []
    for count in most:
        command = replace(wanting(count), wait=timedelta(seconds=LONG))
        polling.append(asyncio.create_task(dispatch.lease(command)))
        await until(lambda: sum(p._is_idle for p in dispatch.long_polls._waiting) == len(polling))
    return polling


async def handlers_of(polling: Sequence[asyncio.Task[list[LeasedTask]]]) -> list[list[str]]:
    """Wait for the answers; gives the handlers of each one's tasks."""
    async with asyncio.timeout(LONG / 2):
        found = await asyncio.gather(*polling)
    return [[task.step.handler for task in tasks] for tasks in found]


@pytest.mark.parametrize("looks_in_vain", [0, 1])
async def test_what_a_call_was_woken_for_and_came_too_early_to_look_at_is_passed_on(
    store: Database, looks_in_vain: int
) -> None:
    """It was told of two lanes, and found enough for an answer in the one it looked at."""
    low_water = OneLane()
    dispatch = dispatching(store, low_water)
    polling = await waiting(dispatch, 100, 100)
    await queue(store, 2, 1)
    low_water.lanes = [_NO_LANE] * looks_in_vain + [await lane_of(store, "h0")]

    dispatch.long_polls.wake({("t", "h0"): 1, ("t", "h1"): 1})

    assert await handlers_of(polling) == [["h0"], ["h1"]]


async def test_what_a_full_answer_leaves_is_passed_on(store: Database) -> None:
    """It was told of one lane, and took what was in another one by then."""
    low_water = OneLane()
    dispatch = dispatching(store, low_water)
    polling = await waiting(dispatch, 1, 100)
    await queue(store, 2, 1)
    low_water.lanes = [await lane_of(store, "h0")]

    dispatch.long_polls.wake({("t", "h1"): 1})

    assert await handlers_of(polling) == [["h0"], ["h1"]]


class Failing(LowWater):
    """Has claims fail for a while, as without a connection. ``failed_at``: when the last one did."""

    fails = False
    failed_at = 0.0

    def to_claim(self, task_names: Sequence[str], handlers: Sequence[str]) -> Begin:
        if self.fails:
            self.failed_at = asyncio.get_running_loop().time()
            raise StoreUnavailable
        return super().to_claim(task_names, handlers)


async def test_what_a_call_was_woken_for_whose_look_fails_is_looked_for_once_that_may_be_over(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another one; they do not fail one after the other, as all would within moments."""
    low_water = Failing()
    dispatch = dispatching(store, low_water)
    first, *others = await waiting(dispatch, 100, 100, 100)
    await queue(store, 1, 1)
    low_water.fails = True
    wake = dispatch.long_polls.wake
    rested: list[float] = []  # seconds before others were woken
    ended: list[bool] = []  # whether one of them was over by then

    def noted(lanes: Mapping[tuple[str, str], int]) -> None:
        if lanes:  # else it is told of nothing, as each that ends tells others
            rested.append(asyncio.get_running_loop().time() - low_water.failed_at)
            ended.append(any(poll.done() for poll in others))
            low_water.fails = False
        wake(lanes)

    dispatch.long_polls.wake({("t", "h0"): 1})
    monkeypatch.setattr(dispatch.long_polls, "wake", noted)

    with pytest.raises(StoreUnavailable):
        await first
    assert await handlers_of(others[:1]) == [["h0"]]
    assert ended == [False]
    assert rested[0] > _AFTER_A_FAILURE / 2
    dispatch.drain()
    assert await handlers_of(others[1:]) == [[]]


async def test_what_a_call_was_told_of_that_is_given_a_task_meanwhile_is_passed_on(
    store: Database,
) -> None:
    """It came too early for its look, and rests in line: a start may take it for its step."""
    dispatch = dispatching(store, LowWater())
    first, second = await waiting(dispatch, 100, 100)
    await queue(store, 2, 1)
    async with store.transaction(first=SHARE_PAUSE_LOCK) as tx:
        started = await lease_tasks(tx, wanting(1, ("h1",)), LowWater())
    (told, _) = dispatch.long_polls._waiting
    told.put_off = {("t", "h0"): 1}
    assert dispatch.long_polls.reserve("t", "h1") is told

    told.deliver(started)

    assert await handlers_of([first, second]) == [["h1"], ["h0"]]
