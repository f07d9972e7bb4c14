"""One of the processes of a server, from its supervisor's side: started, heard, told, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from zart_server.settings import Settings
from zart_server.supervised import Supervised

_SPAWN = multiprocessing.get_context("spawn")  # gRPC does not outlive a fork
_ENDING = 10.0  # seconds from when the end of one is told until it has ended, at most
_MOMENT = 0.01  # seconds between two looks at whether it has


class NotStartedError(Exception):
    """No descriptor, process or memory was left to start one with; the message says which."""


@dataclass(eq=False, slots=True)
class Child:
    """One of them.

    Once it takes calls: ``metrics`` is where it tells them, ``heard`` the loop's time of its last
    sign of life.
    """

    process: SpawnProcess
    pipe: Connection[str, str]
    metrics: str = ""
    heard: float | None = None
    is_ready: asyncio.Event = field(default_factory=asyncio.Event)
    is_gone: asyncio.Event = field(default_factory=asyncio.Event)

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Note when it takes calls, that it goes on, and when it has ended."""

        def read() -> None:
            try:
                told = self.pipe.recv()
            except (EOFError, OSError):  # it has ended
                loop.remove_reader(self.pipe.fileno())
                return
            if self.heard is None:  # what follows is a sign of life, and nothing else
                self.metrics = told
                self.is_ready.set()
            self.heard = loop.time()

        def ended() -> None:
            for of in (self.process.sentinel, self.pipe.fileno()):
                loop.remove_reader(of)
            self.pipe.close()
            self.is_gone.set()

        loop.add_reader(self.pipe.fileno(), read)
        loop.add_reader(self.process.sentinel, ended)

    def signal(self, number: int) -> None:
        """Send it a signal, if it is there."""
        if self.is_gone.is_set() or self.process.pid is None:
            return
        # To start another one waits for those that have ended, whose numbers may be others' then.
        if self.process.exitcode is None:
            os.kill(self.process.pid, number)

    async def exit_code(self) -> int | None:
        """Return how it ended, which is known a moment after it is gone; None: it is about to end.

        It is looked for: a thread to wait in may be what cannot be had.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ENDING):
                while self.process.exitcode is None:  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(_MOMENT)
        return self.process.exitcode


def start_child(
    index: int, run: Callable[[Settings, Supervised], None], settings: Settings, pause: float
) -> Child:
    """Start the process of this number, which is to give a sign of life after each ``pause``.

    Raises NotStartedError, and leaves nothing of it then.
    """
    try:
        return _started(index, run, settings, pause)
    except OSError as error:
        raise NotStartedError(error.strerror or type(error).__name__) from None
    except MemoryError:
        raise NotStartedError("no memory is left") from None


def _started(
    index: int, run: Callable[[Settings, Supervised], None], settings: Settings, pause: float
) -> Child:
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(
        target=run, args=(settings, Supervised(theirs, pause)), name=f"zart-server-{index}"
    )
    try:
        # A terminal's Ctrl-C is sent to all: one that only begins would end by an exception. Who
        # starts the tracker takes SIGINT again.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()  # which inherits the mask: its supervisor tells it when to stop
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return Child(process, ours)
