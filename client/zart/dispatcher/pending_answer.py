"""An answer that one of gRPC's threads takes in hand, and a caller waits for in the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from zart.dispatcher.in_hand import InHand

_LAST_ANSWERS = 1.0  # seconds for the answer to what nobody waits for any more


class PendingAnswer:
    """An answer on its way, made in the event loop of its caller.

    ``too_late`` takes the tasks that it brings after its caller has left.
    """

    def __init__(self, too_late: Callable[[list[InHand]], None]) -> None:
        self._too_late = too_late
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[tuple[Any, list[InHand]]] = self._loop.create_future()
        self._settled = asyncio.Event()

    def settle(
        self,
        response: Any,  # noqa: ANN401 - a message, or None
        in_hand: list[InHand],
        error: BaseException | None,
    ) -> None:
        """Give the answer and its tasks, or why there is none; from any thread, once."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._settle, response, in_hand, error)

    async def get(self, timeout: float | None = None) -> tuple[Any, list[InHand]]:
        """Wait for the answer and its tasks, for so many seconds at most.

        Raises the error that it was settled with, or TimeoutError: then ``too_late`` takes the
        tasks that it brings. If this is cancelled, ``call_off`` is to follow.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._answer
        except TimeoutError:
            # A loop that stood still finds the answer and the end of the time at once: the answer
            # goes first, since nobody else would take its tasks.
            if self._answer.cancelled():
                raise
            return self._answer.result()

    async def call_off(self) -> bool:
        """Wait for a second until it is settled, for a caller that was cancelled in ``get``.

        Return whether it is. The caller wants no task: ``too_late`` takes what there is, or comes
        later. If this is cancelled, or it is not settled, it may be called again.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_ANSWERS):
                await self._settled.wait()
        if not self._settled.is_set():
            return False
        if not self._answer.cancelled() and self._answer.exception() is None:
            self._too_late(self._answer.result()[1])
        return True

    def _settle(
        self,
        response: Any,  # noqa: ANN401 - a message, or None
        in_hand: list[InHand],
        error: BaseException | None,
    ) -> None:
        self._settled.set()
        if self._answer.done():  # nobody waits any more
            self._too_late(in_hand)
        elif error is None:
            self._answer.set_result((response, in_hand))
        else:
            self._answer.set_exception(error)
