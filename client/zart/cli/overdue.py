"""The end of a dispatcher's process that was told to stop while a step holds its event loop up.

Neither its stop goes on then, nor what ends the process where steps do not end: all that is done in
the loop. Leases would be extended meanwhile, as those of a step that is at work.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import time
from collections.abc import Callable

from zart.cli.leaving import end_process
from zart.dispatcher.log import Log

_log = Log("zart.dispatcher")
_SOON = 2.0  # seconds in which a loop that goes on heeds a signal


class Overdue:
    """Ends the process so many seconds after a signal told it to stop, unless it has ended by then.

    ``held_up_by`` tells what holds the event loop up; empty: nothing. It is called in a thread.
    """

    def __init__(self, most: float, held_up_by: Callable[[], str]) -> None:
        self._most = most
        self._held_up_by = held_up_by
        # A signal may come while its thread holds any lock: only this queue's put takes none.
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._heeded = threading.Event()

    def watch(self) -> None:
        """Begin, in a thread: none has to be started in the moment of a signal."""
        with contextlib.suppress(RuntimeError):  # none can be: it goes on without
            threading.Thread(target=self._watch, name="zart-overdue", daemon=True).start()

    def come(self, number: int, _frame: object = None) -> None:
        """Note a signal that is to stop the process; to be its handler."""
        self._signals.put(number)

    def heed(self) -> None:
        """Note that the event loop has heard of it."""
        self._heeded.set()

    def _watch(self) -> None:
        number = self._signals.get()
        over = time.monotonic() + self._most
        if not self._heeded.wait(min(_SOON, self._most)):
            _log.warning(
                "%s waits for the event loop, held up by %s: the process ends in %.0f s at the"
                " latest, and what it has not reported by then is lost",
                signal.Signals(number).name, self._who(), over - time.monotonic(),
            )  # fmt: skip
        while (left := over - time.monotonic()) > 0:
            time.sleep(left)
        end_process(f"the event loop, held up by {self._who()}, does not end")

    def _who(self) -> str:
        return self._held_up_by() or "something"
