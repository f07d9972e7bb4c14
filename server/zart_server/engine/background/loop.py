"""A loop of a server's background work: it looks, does what is to be done, and waits."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from zart_server.domain.errors import ZartError
from zart_server.engine.background.failing import Failing

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
DEFECT, WAITS = "defect", "waits"
_AGAIN = 1.0  # seconds until the next turn after one that failed


class BackgroundLoop(abc.ABC):
    """Takes turns for as long as its server runs, whatever goes wrong in one of them.

    ``name`` is told in logs and metrics. The first turn is ``first`` seconds after its start; None:
    once it is kicked.
    """

    def __init__(self, name: str, first: float | None) -> None:
        self.name = name
        # Since its server began: what only had to wait, as for a lock, or failed as nothing should.
        self.failures = {DEFECT: 0, WAITS: 0}
        self.failing = Failing()
        self._first = first
        self._kicked = asyncio.Event()
        self._is_stopping = False
        self.is_in_turn = False
        self._has_defect = False  # in this turn
        self._task: asyncio.Task[None] | None = None

    @abc.abstractmethod
    async def turn(self) -> float | None:
        """Do what is to be done; return the seconds until the next turn, None: once kicked."""

    def start(self, after: float = 0.0) -> None:
        """Begin the loop; so many seconds later, unless it is kicked."""
        if self._first is not None:
            self._first += after
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """End the loop; a piece under way is rolled back, and is done later or elsewhere."""
        self._is_stopping = True  # should a turn take its cancellation for a failure
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def kick(self) -> None:
        """Have the loop take its next turn now."""
        self._kicked.set()

    @property
    def is_beside(self) -> bool:
        """Whether something is under way that no turn waits for: how it ends is not known yet."""
        return False

    @property
    def is_kicked(self) -> bool:
        """Whether the next turn is to follow at once."""
        return self._kicked.is_set()

    async def one_of_several(self, work: Awaitable[_T]) -> _T | None:
        """Await what is done for one of several that are not to wait for one another.

        Return None, and tell the log, if it has to wait itself, or fails. After a defect the next
        turn is a second later, at the earliest.
        """
        try:
            return await work
        except Exception as error:  # noqa: BLE001 - told; it is nothing to the others
            self._tell(error)
            self._has_defect |= not isinstance(error, ZartError)
            return None

    async def each(self, parts: Iterable[Callable[[], Awaitable[None]]]) -> None:
        """Do all of these, whatever becomes of one another, and raise at the end what failed first.

        The log tells what failed besides.
        """
        first: Exception | None = None
        for part in parts:
            try:
                await part()
            except Exception as error:  # noqa: BLE001 - raised, or told in full
                if first is None:
                    first = error
                else:
                    self._tell(error)
        if first is not None:
            raise first

    def count(self, error: Exception) -> None:
        """Count what failed; for who catches it apart, and tells the log in other words, too."""
        self.count_as(WAITS if isinstance(error, ZartError) else DEFECT)

    def count_as(self, kind: str) -> None:
        """Count what failed, or has to wait, without an error."""
        self.failures[kind] += 1
        self.failing.fail()

    def _tell(self, error: Exception) -> None:
        """Count what failed, and tell the log, while the loop goes on."""
        self.count(error)
        if isinstance(error, ZartError):
            _log.warning("%s has to wait: %s", self.name, error.message)
        else:
            _log.error("%s failed; it goes on", self.name, exc_info=error)

    async def _run(self) -> None:
        pause = self._first
        while not self._is_stopping:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._kicked.wait()
            self._kicked.clear()
            self._has_defect = False
            self.is_in_turn = True
            self.failing.begin()
            try:
                pause = await self.turn()
                if self._has_defect:
                    pause = _AGAIN if pause is None else max(pause, _AGAIN)
            except Exception as error:  # noqa: BLE001 - told in full; the loop must go on
                pause = _AGAIN
                self._tell(error)
            finally:
                self.is_in_turn = False
                if not self.is_beside:
                    self.failing.end()
            # Whether it goes well by now, only another turn tells, which nobody may kick it for.
            if pause is None and (self.is_beside or not self.failing.is_well):
                pause = _AGAIN
