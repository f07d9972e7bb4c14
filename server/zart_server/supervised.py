"""One of the processes of a server, as its supervisor knows it: by a pipe between the two."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection


@dataclass(frozen=True, slots=True)
class Supervised:
    """The end of the pipe that the process has."""

    pipe: Connection[str, str]

    def on_leave(self, loop: asyncio.AbstractEventLoop, leave: Callable[[], None]) -> None:
        """Have this called when the supervisor is gone, however it went."""

        def left() -> None:
            loop.remove_reader(self.pipe.fileno())
            leave()

        loop.add_reader(self.pipe.fileno(), left)  # nothing is ever sent this way

    def ready(self, metrics: str | None) -> None:
        """Say that calls are taken from now on, and where this process serves its metrics."""
        self.pipe.send(metrics or "")


def forget_systemd() -> None:
    """Leave it to the supervisor to tell systemd how the server is."""
    os.environ.pop("NOTIFY_SOCKET", None)
