"""Whether gRPC can start the threads that a call needs: where it cannot, its channel is lost.

A channel for plain code has a thread that takes what its calls bring, from the first that is under
way to the end of the last. Where it cannot be started, as at the process's limit, the channel takes
it for started all the same: no call is answered any more, and to close the channel takes for ever.
"""

from __future__ import annotations

import threading

# More than are needed: one that has ended may count for a moment more.
_SPARE = 2


class ThreadRoom:
    """Room for the threads of one channel's calls.

    ``under_way`` is what is under way on it: as long as anything is, the channel has its thread.
    """

    def __init__(self) -> None:
        self.under_way: set[object] = set()

    def look(self, more: int = 0) -> None:
        """Look before a call, which needs so many threads beside the channel's.

        Raises RuntimeError where they cannot be started.
        """
        count = more if self.under_way else more + 1
        if count:
            _start_and_end(count + _SPARE)


def _start_and_end(count: int) -> None:
    gate = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=gate.wait, name="zart-room", daemon=True)
            thread.start()
            started.append(thread)
    finally:
        gate.set()
        for thread in started:
            thread.join()
