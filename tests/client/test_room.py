"""Room and pace: for how many tasks a dispatcher asks, and when."""

from __future__ import annotations

import asyncio

import pytest

from zart.dispatcher.eager_dispatch import EagerDispatch
from zart.dispatcher.in_hand import in_hand_of
from zart.dispatcher.outcomes import completed
from zart.dispatcher.pace import Pace
from zart.dispatcher.room import Room
from zart.v1 import dispatch_service_pb2 as pb


class Rooms:
    """A room with so many tasks in it."""

    def __init__(self, concurrency: int, *, busy: int = 0, in_hand: int = 0) -> None:
        self.pace = Pace(concurrency)
        self.busy = [None] * busy
        self.in_hand = [None] * (in_hand or busy)
        self.room = Room(concurrency, self.pace, self.busy, self.in_hand)

    def get_done(self, tasks: int, seconds: float) -> None:
        """Get tasks done in a time in which there was always one to run."""
        self.pace.busy(0.0)
        for _ in range(tasks):
            self.pace.one_ended()
        self.pace.idle(seconds)


@pytest.mark.parametrize(("concurrency", "busy", "room"), [(16, 0, 16), (16, 12, 4), (1, 0, 1)])
def test_an_idle_dispatcher_asks_at_once_for_its_free_slots(
    concurrency: int, busy: int, room: int
) -> None:
    assert Rooms(concurrency, busy=busy).room.to_lease(1.0, is_patient=True) == room


def test_a_busy_one_lets_a_few_slots_gather_but_not_for_long() -> None:
    room = Rooms(16, busy=13).room
    assert room.to_lease(1.0, is_patient=True) == 0
    assert room.to_lease(1.0, is_patient=False) == 3
    assert Rooms(16, busy=16).room.to_lease(9.0, is_patient=False) == 0


@pytest.mark.parametrize(
    ("busy", "is_patient", "is_short", "room"),
    [
        (32, True, True, 0),
        (31, True, True, 225),  # not so many
        (32, True, False, 224),  # there are more, surely
        (32, False, True, 224),  # the moment is over
        (256, False, True, 0),
    ],
)
def test_one_at_work_lets_tasks_gather_where_a_call_got_all_that_there_were(
    busy: int, room: int, *, is_patient: bool, is_short: bool
) -> None:
    rooms = Rooms(256, busy=busy)
    assert rooms.room.to_lease(1.0, is_patient=is_patient, is_short=is_short) == room


def test_one_whose_tasks_are_quick_goes_on_at_once() -> None:
    rooms = Rooms(256, busy=40)
    assert rooms.room.is_at_work(60.0)
    rooms.get_done(5_000, seconds=1.0)
    assert not rooms.room.is_at_work(60.0)
    assert rooms.room.to_lease(60.0, is_patient=True, is_short=True) == 716


def test_one_without_a_free_slot_lets_nothing_gather() -> None:
    room = Rooms(64, busy=60).room
    room.expected = 3
    assert room.is_at_work(60.0)
    room.expected = 4  # slots that the answers to reports fill
    assert not room.is_at_work(60.0)


@pytest.mark.parametrize(
    ("concurrency", "in_a_second", "ahead"),
    [(16, 159, 0), (16, 160, 16), (16, 1_000, 100), (16, 99_000, 512), (256, 2_000, 0)],
)
def test_it_leases_a_tenth_of_a_second_ahead_where_that_is_more_than_its_slots(
    concurrency: int, in_a_second: int, ahead: int
) -> None:
    rooms = Rooms(concurrency)
    rooms.get_done(in_a_second, seconds=1.0)
    assert rooms.room.to_lease(60.0, is_patient=False) == concurrency + ahead
    # As soon as what runs takes long, nothing more is hoarded.
    rooms.pace.busy(60.0)
    assert rooms.room.to_lease(61.0, is_patient=False) == concurrency


def test_what_it_leases_ahead_is_worth_a_call_by_the_quarter() -> None:
    for busy, room in ((416 - 99, 0), (416 - 100, 100)):
        rooms = Rooms(16, busy=busy)
        rooms.get_done(400, seconds=0.1)
        assert rooms.room.to_lease(60.0, is_patient=False) == room


def test_a_server_that_is_behind_with_recording_is_not_asked_for_more() -> None:
    assert Rooms(16, in_hand=2_000).room.to_lease(1.0, is_patient=False) == 16
    assert Rooms(16, in_hand=2_010).room.to_lease(1.0, is_patient=False) == 6
    assert Rooms(16, in_hand=2_100).room.to_lease(1.0, is_patient=False) == 0


def test_a_slot_is_kept_for_the_next_step_and_asked_for_once() -> None:
    room = Rooms(16, busy=10).room
    room.expected = 4
    assert room.to_lease(9.0, is_patient=False) == 2
    assert room.to_lease_eagerly(3, 9.0) == 3
    room.asked = 2  # a poll for all the others waits
    assert room.to_lease_eagerly(4, 9.0) == 4
    room.asked = 5  # a poll from before they were taken
    assert room.to_lease_eagerly(4, 9.0) == 1
    room.asked = 9
    assert room.to_lease_eagerly(4, 9.0) == 0


@pytest.mark.parametrize(
    ("asked", "in_a_second", "to_lease"),
    [
        (0, 40, 8),
        (0, 20, 6),  # no more than end in a tenth of a second
        (0, 0, 4),  # what takes long may be another dispatcher's
        (4, 40, 7),
        (6, 40, 5),  # a poll for all free slots waits: a quarter of them is asked for once more
        (6, 0, 4),
        (9, 40, 2),  # a poll from before they were taken
        (9, 0, 1),
    ],
)
def test_a_report_asks_for_two_steps_an_outcome_where_slots_are_free(
    asked: int, in_a_second: int, to_lease: int
) -> None:
    rooms = Rooms(16, busy=6)
    rooms.get_done(in_a_second, seconds=1.0)
    rooms.room.expected, rooms.room.asked = 4, asked
    assert rooms.room.to_lease_eagerly(4, 60.0) == to_lease


def test_a_report_asks_for_one_step_an_outcome_without_a_free_slot_and_none_for_others() -> None:
    rooms = Rooms(16, busy=12)
    rooms.get_done(40, seconds=1.0)
    rooms.room.expected = 4
    assert rooms.room.to_lease_eagerly(4, 60.0) == 4
    assert rooms.room.to_lease_eagerly(0, 60.0) == 0


def test_a_report_asks_for_more_steps_no_more_than_fit_into_a_call_and_are_recorded() -> None:
    rooms = Rooms(256)
    rooms.get_done(99_000, seconds=1.0)
    rooms.room.expected = 600
    assert rooms.room.to_lease_eagerly(600, 60.0) == 1_000

    rooms = Rooms(16, busy=6, in_hand=2_014)
    rooms.get_done(40, seconds=1.0)
    rooms.room.expected = 4
    assert rooms.room.to_lease_eagerly(4, 60.0) == 6
    rooms.in_hand += [None] * 100
    assert rooms.room.to_lease_eagerly(4, 60.0) == 4


async def test_room_is_kept_for_all_that_a_report_asks_for_until_its_answer() -> None:
    rooms = Rooms(16, busy=6)
    rooms.get_done(40, seconds=1.0)
    stop = asyncio.Event()
    eager = EagerDispatch([], 30.0, rooms.room, lambda _: None, stop, lambda: None)
    batch = in_hand_of([pb.LeasedTask(task_name="t", step_name="a")] * 4, 0.0)
    for in_hand in batch:
        eager.expect(in_hand, completed(in_hand, None))
    assert rooms.room.to_lease(60.0, is_patient=False) == 6
    request = pb.ReportTasksRequest()
    for _ in range(2):  # as where the call is repeated
        eager.ask(batch, request)
        assert request.lease_next.max_tasks == 8
        assert rooms.room.to_lease(60.0, is_patient=False) == 2
    eager.answered(batch, [])
    assert rooms.room.to_lease(60.0, is_patient=False) == 10
