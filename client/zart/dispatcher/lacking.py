"""Steps that are given back, since their task has no handler here that they name."""

from __future__ import annotations

from zart.dispatcher import lease_clock
from zart.dispatcher.attempt_fields import fields_of
from zart.dispatcher.in_hand import InHand
from zart.dispatcher.log import Log
from zart.dispatcher.trouble import Trouble

_log = Log(__name__)
# Seconds: no dispatcher of these tasks may ever have the handler, and each time is on record.
_FIRST, _LONGEST = 5.0, 300.0
# Seconds after which a step begins anew: where many dispatchers lack a handler, each is given the
# step every few hours.
_FORGOTTEN = 24 * 3600.0
_MOST = 10_000  # steps that are counted


class Lacking:
    """Counts how often each step was given back, tells of it, and says how long it is to wait.

    Not by its attempt's number: one that has failed or was revived has a high one, though another
    dispatcher could run it in a moment.
    """

    def __init__(self) -> None:
        self._troubles: dict[tuple[str, str], Trouble] = {}  # by task and handler
        # By run and step: how often, and when last. Who was given back last is last.
        self._counted: dict[tuple[str, str], tuple[int, float]] = {}

    def delay(self, in_hand: InHand) -> float:
        """Return for how many seconds to give it back: longer each time."""
        task = in_hand.task
        trouble = self._troubles.setdefault(
            (task.task_name, task.handler), Trouble(_log, "steps are given back")
        )
        lacked = f"this dispatcher has no handler {task.handler} of {task.task_name}"
        trouble.met(f"{task.task_name}/{task.step_name}: {lacked}", fields_of(in_hand))
        now = lease_clock.now()
        step = task.run_id, task.step_name
        times, at = self._counted.pop(step, (0, now))
        if at < now - _FORGOTTEN:
            times = 0
        self._forget(now - _FORGOTTEN)
        delay = min(_FIRST * 2.0**times, _LONGEST)
        self._counted[step] = (times + (delay < _LONGEST), now)
        return delay

    def _forget(self, before: float) -> None:
        """Forget what was given back last before this, and the oldest where there are too many."""
        while self._counted:
            step = next(iter(self._counted))
            if self._counted[step][1] >= before and len(self._counted) < _MOST:
                return
            del self._counted[step]
