"""A turn of calls is within the trace of its own call, never of one from long ago."""

from __future__ import annotations

from api.test_turns import Asked, Doing
from standing_clock import StandingClock
from tracing import traced

from zart.trace_context import current_ids
from zart_server.api.turns import Turn


class Seeing(Doing):
    """Turns of which is known within which trace each is."""

    def __init__(self, clock: StandingClock) -> None:
        self.traces: list[tuple[str, str] | None] = []
        super().__init__(clock)

    async def _do(self, turn: Turn[Asked]) -> None:
        self.traces.append(current_ids())
        await super()._do(turn)


def test_a_turn_is_within_the_trace_of_its_own_call_or_of_none() -> None:
    clock = StandingClock()
    seeing = Seeing(clock)
    traces = []
    for number, name in enumerate("abc", 1):
        with traced(number) as ids:
            seeing.ask(name)
            traces.append(ids)
    seeing.end(0)
    assert seeing.begun == [["a"], ["b"], ["c"]]
    assert seeing.traces == [*traces[:2], None]
    seeing.end_all()
    clock.close()
