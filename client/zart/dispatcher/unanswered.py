"""An outcome that the server has not answered yet."""

from __future__ import annotations

import math
from dataclasses import dataclass

from zart.dispatcher.in_hand import InHand
from zart.v1 import dispatch_service_pb2 as pb

_REFUSED = 600.0  # seconds for which one is refused by itself, while others are answered
_BETWEEN = 30.0  # seconds of these at most between two calls: the process may have stood still
_AT_ONCE = 5.0  # seconds in which a call fails for what is in it; later, for a lock or a timeout


@dataclass(eq=False, slots=True)
class Unanswered:
    """An outcome on its way, or before it. Times are those of ``time.monotonic``.

    An attempt may have two: that its time was up, and what its handler told in the end.

    ``is_late``: nobody extends the attempt's lease any more, since it was lost, or has an outcome
    besides this one: so nobody would learn that the server has given it up.
    """

    in_hand: InHand
    outcome: pb.TaskOutcome
    since: float
    is_late: bool = False
    sent_at: float = 0.0  # of the first one of a call
    _refused_at: float = math.inf  # when its call failed last, with it alone
    _refused_for: float = 0.0

    @property
    def where(self) -> str:
        """The run and the step, for a line of the log."""
        return f"{self.in_hand.context.run_id}/{self.in_hand.context.step_name}"

    def refused(self, now: float, answered_at: float) -> None:
        """Note that its call failed, with it alone; ``answered_at``: when the last was answered.

        Time counts in which others were answered: where none are, the server is away or something
        before it lets nothing through, and that says nothing of this one. Nor does a call that took
        long: somebody has locked its run.
        """
        if self._refused_at < answered_at and now - self.sent_at < _AT_ONCE:
            self._refused_for += min(now - self._refused_at, _BETWEEN)
        self._refused_at = now

    @property
    def is_hopeless(self) -> bool:
        """Whether to send it once more is in vain, and nothing is lost without it.

        A lease that the server has given up is over: its outcome is recorded already, or never will
        be. But what a step tells that is not to run twice is evidence, however late it is: it is
        given up only where it alone is refused for ten minutes. So is what nobody would else.
        """
        if self.in_hand.given_up and not self.in_hand.tells_late:
            return True
        return (self.is_late or self.in_hand.given_up) and self._refused_for >= _REFUSED
