"""Calls that come while others are done are brought together, and hold each other up for no long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from standing_clock import StandingClock

from zart_server.api.outliving import Outliving
from zart_server.api.turns import PATIENCE, Turn, Turns

MOST = 20
ALMOST = PATIENCE * 0.99


@dataclass(eq=False)
class Asked:
    """A call about something."""

    name: str
    done: asyncio.Future[None] = field(default_factory=asyncio.Future)

    @property
    def names(self) -> Sequence[str]:
        """Itself."""
        return (self.name,)


class Doing:
    """Turns that each last until they are told to end."""

    def __init__(self, clock: StandingClock, *, counts_slow: bool = False) -> None:
        self._clock = clock
        self._outliving = Outliving()
        self._ends: list[asyncio.Future[None]] = []
        self.turns = Turns[Asked](MOST, self._do, self._outliving, counts_slow=counts_slow)
        self.begun: list[list[str]] = []

    async def _do(self, turn: Turn[Asked]) -> None:
        end = self._clock.create_future()
        self.begun.append([asked.name for asked in turn.calls])
        self._ends.append(end)
        await end

    @property
    def sizes(self) -> list[int]:
        """How many calls each turn had that has begun."""
        return [len(names) for names in self.begun]

    def ask(self, *names: str) -> list[Asked]:
        """Ask at once."""
        return self._clock.run_until_complete(self._ask(names))

    async def _ask(self, names: Sequence[str]) -> list[Asked]:
        asked = [Asked(name) for name in names]
        for each in asked:
            self.turns.add(each)
        await self._clock.at_rest()
        return asked

    def ask_many(self, count: int) -> None:
        """Ask at once, each about something else."""
        self.ask(*map(str, range(count)))

    def end(self, turn: int) -> None:
        """End the turn that was begun as this one, from 0."""
        self._ends[turn].set_result(None)
        self.wait(0)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._clock.run_until_complete(self._clock.passed(seconds))

    def end_all(self) -> None:
        """End each turn, and those that begin then; nothing is left."""
        while not all(end.done() for end in self._ends):
            for end in self._ends:
                if not end.done():
                    end.set_result(None)
            self.wait(0)
        self._clock.run_until_complete(self._outliving.drain())
        count = len(self.begun)
        self.wait(PATIENCE)
        assert len(self.begun) == count
        assert self.turns._under_way == self.turns._slow == len(self.turns._waiting) == 0


@pytest.fixture
def clock() -> Iterator[StandingClock]:
    loop = StandingClock()
    yield loop
    loop.close()


@pytest.fixture(params=[False, True], ids=["ends slow ones", "counts slow ones"])
def doing(clock: StandingClock, request: pytest.FixtureRequest) -> Doing:
    return Doing(clock, counts_slow=request.param)


def hurry(doing: Doing) -> None:
    """Have calls come fast, and one turn of many be under way, the only one."""
    doing.ask_many(MOST)
    doing.ask_many(MOST)
    doing.end(0)
    assert doing.sizes == [MOST, MOST]


def test_calls_that_come_slowly_have_their_own_turns_beside_each_other(doing: Doing) -> None:
    for n in range(10):
        doing.ask(f"a{n}")
        doing.ask(f"b{n}")
        assert doing.begun[-2:] == [[f"a{n}"], [f"b{n}"]]
        doing.end(-1)
        doing.end(-2)
    doing.end_all()


def test_what_comes_at_once_is_together_from_the_first(doing: Doing) -> None:
    doing.ask("a", "b", "c")

    assert doing.begun == [["a", "b", "c"]]
    doing.end_all()


def test_the_third_waits_with_those_after_it_for_the_first_to_end(doing: Doing) -> None:
    for name in "abcde":
        doing.ask(name)
    assert doing.begun == [["a"], ["b"]]

    doing.end(1)
    assert doing.begun == [["a"], ["b"], ["c", "d", "e"]]
    doing.end_all()


def test_calls_that_come_fast_have_one_turn_at_a_time(doing: Doing) -> None:
    hurry(doing)
    for turn in range(1, 10):
        doing.ask("a", "b")
        doing.ask("c")
        doing.wait(ALMOST / 10)
        assert len(doing.begun) == turn + 1
        doing.end(turn)
        assert doing.begun[-1] == ["a", "b", "c"]
    doing.end_all()


def test_calls_that_come_slowly_again_have_their_own_turns_again(doing: Doing) -> None:
    hurry(doing)
    doing.end(1)
    for n in range(20):
        doing.ask(f"a{n}")
        doing.end(-1)

    doing.ask("b")
    doing.ask("c")
    assert doing.begun[-2:] == [["b"], ["c"]]
    doing.end_all()


def test_no_turn_has_more_than_the_most_and_none_is_forgotten(doing: Doing) -> None:
    hurry(doing)
    doing.ask_many(2 * MOST + 1)
    doing.end_all()

    assert doing.sizes == [MOST, MOST, MOST, MOST, 1]


def test_two_calls_about_the_same_have_one_turn_after_the_other(doing: Doing) -> None:
    hurry(doing)
    doing.ask("a", "a", "b", "a")
    doing.end_all()

    assert doing.begun[2:] == [["a", "b"], ["a"], ["a"]]


def test_nothing_is_done_for_callers_that_left(doing: Doing) -> None:
    hurry(doing)
    doing.ask("a")
    (gone,) = doing.ask("b")
    gone.done.cancel()
    doing.end_all()
    assert doing.begun[2:] == [["a"]]

    hurry_again = len(doing.begun)
    doing.ask_many(2)
    doing.ask("c")[0].done.cancel()
    doing.end(hurry_again)
    doing.ask("d")
    doing.end_all()
    assert doing.begun[hurry_again:] == [["0", "1"], ["d"]]


def test_a_turn_of_many_that_takes_long_holds_up_nobody(doing: Doing) -> None:
    """Nor the ones after it that are held up no longer."""
    hurry(doing)
    doing.ask("a", "b")
    doing.wait(ALMOST)
    assert len(doing.begun) == 2

    doing.wait(PATIENCE)
    for turn in range(2, 6):
        assert doing.begun[turn:] == [["a", "b"]]
        doing.ask("a", "b")
        doing.end(turn)
    doing.end_all()


def test_a_call_that_comes_later_is_not_held_up_either(doing: Doing) -> None:
    hurry(doing)
    doing.wait(PATIENCE)
    doing.ask("a")

    assert doing.begun[2:] == [["a"]]
    doing.end_all()


def test_one_turn_at_a_time_is_under_way_again_once_the_slow_one_ends(doing: Doing) -> None:
    hurry(doing)
    doing.wait(PATIENCE)
    doing.ask_many(MOST)
    doing.end(1)
    doing.ask_many(MOST)
    assert doing.sizes == [MOST] * 3

    doing.end(2)
    assert doing.sizes == [MOST] * 4
    doing.end_all()


@pytest.mark.parametrize("doing", [True], ids=["counts slow ones"], indirect=True)
def test_slow_turns_that_count_are_four_at_most(doing: Doing) -> None:
    doing.ask_many(MOST)
    for name in "abcdef":
        doing.ask(name, name + name)
        doing.wait(PATIENCE)
    assert doing.sizes == [MOST, 2, 2, 2]

    doing.end(0)
    assert doing.sizes == [MOST, 2, 2, 2, 6]
    doing.end_all()


@pytest.mark.parametrize("doing", [False], ids=["ends slow ones"], indirect=True)
def test_turns_that_do_not_count_once_they_are_slow_hold_up_nobody(doing: Doing) -> None:
    for _ in range(10):
        doing.ask("a", "b")
        doing.wait(PATIENCE)

    assert doing.sizes == [2] * 10
    doing.end_all()


def test_single_calls_that_wait_hold_up_nobody_however_many(doing: Doing) -> None:
    for n in range(10):
        doing.ask(f"a{n}")
        doing.wait(PATIENCE)

    assert doing.sizes == [1] * 10
    doing.end_all()


def test_two_that_take_long_at_once_have_one_turn_of_many_begin(doing: Doing) -> None:
    doing.ask("a")
    doing.ask("b")
    doing.ask_many(MOST + 1)
    doing.wait(PATIENCE)

    assert doing.sizes == [1, 1, MOST]
    doing.end_all()


def test_a_call_that_its_caller_does_has_a_turn_as_any_other(
    clock: StandingClock, doing: Doing
) -> None:
    async def begin() -> Turn[Asked] | None:
        return doing.turns.begin_alone()

    first, second, third = (clock.run_until_complete(begin()) for _ in range(3))
    assert first is not None
    assert second is not None
    assert third is None

    doing.ask("a", "b")
    doing.wait(ALMOST)
    assert not doing.begun
    doing.wait(PATIENCE)  # both have held up others for long
    assert doing.begun == [["a", "b"]]

    async def end() -> None:
        for turn in (first, second, first):
            doing.turns.end(turn)

    doing.ask("c")
    clock.run_until_complete(end())
    doing.wait(0)
    assert doing.begun == [["a", "b"], ["c"]]
    doing.end_all()
