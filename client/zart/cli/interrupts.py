"""What stops a command that is all its process does: Ctrl-C, and SIGTERM as well.

By itself SIGTERM would end it without a word of what may be done, and the first process of a
container would ignore it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType

_TAKES = 3.0  # seconds in which what there is to say is said, and the connection closed


class Interrupts:
    """The signals of one command.

    The first raises KeyboardInterrupt, wherever the command is. Those that come while that is told
    are the same wish; later ones end the process at once.
    """

    def __init__(self) -> None:
        self._first: int = signal.SIGINT
        self._at: float | None = None

    @property
    def code(self) -> int:
        """The exit code of a command that was stopped, as a shell tells it: 130, or 143."""
        return 128 + self._first

    def take(self) -> None:
        """Take the signals from now on, unless somebody else does, or there is another thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._met)
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._met)

    def note(self, number: int) -> None:
        """Note what stops a command whose event loop takes the signals itself."""
        self._first = number

    def _met(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._at is None:
            self._first, self._at = number, now
            raise KeyboardInterrupt
        if now > self._at + _TAKES:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
            os._exit(128 + number)  # the first process of a container is sent none by itself
