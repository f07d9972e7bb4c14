"""One of the processes of a server, from its own side: it tells its supervisor how it is."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection


@dataclass(frozen=True, slots=True)
class Supervised:
    """The end of the pipe that the process has.

    ``pause``: the seconds between two signs of life, once it takes calls.
    """

    pipe: Connection[str, str]
    pause: float

    def on_leave(self, loop: asyncio.AbstractEventLoop, leave: Callable[[], None]) -> None:
        """Have this called when the supervisor is gone, however it went."""

        def left() -> None:
            loop.remove_reader(self.pipe.fileno())
            leave()

        loop.add_reader(self.pipe.fileno(), left)  # nothing is ever sent this way

    def ready(self, metrics: str | None) -> None:
        """Say that calls are taken from now on, and where this process serves its metrics.

        From now on it also says, until it ends, that its event loop goes on.
        """
        self.pipe.send(metrics or "")
        os.set_blocking(self.pipe.fileno(), False)  # a supervisor that hangs holds up nobody
        self._go_on()

    def _go_on(self) -> None:
        with contextlib.suppress(OSError):  # it reads nothing, or is gone
            self.pipe.send("")
        asyncio.get_running_loop().call_later(self.pause, self._go_on)


def forget_systemd() -> None:
    """Leave it to the supervisor to tell systemd how the server is."""
    os.environ.pop("NOTIFY_SOCKET", None)
