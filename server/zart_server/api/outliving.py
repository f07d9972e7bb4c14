"""Waiting for work that goes on when its caller leaves."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

T = TypeVar("T")


class Outliving:
    """Tasks that run to their end, even if their callers stop waiting for them."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def keep(self, task: asyncio.Task[T]) -> asyncio.Task[T]:
        """Let a task run to its end."""
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def drain(self) -> None:
        """Wait until every task is done, and those that they began."""
        while self._running:
            await asyncio.wait(self._running)


async def outcome_of(work: asyncio.Future[T]) -> T:
    """Wait for a task or a future that the waiting call's cancellation does not touch.

    Where the caller has left, what the work is refused with concerns nobody: it is not told.
    (``asyncio.shield`` would leave it to be logged as an error that was never retrieved, or, in
    newer Pythons, log it itself.)
    """
    work.add_done_callback(read)
    if not work.done():
        done = asyncio.get_running_loop().create_future()

        def tell(_work: asyncio.Future[T]) -> None:
            if not done.done():
                done.set_result(None)

        work.add_done_callback(tell)
        try:
            await done
        finally:
            work.remove_done_callback(tell)
    return work.result()


def read(work: asyncio.Future[Any]) -> None:
    """Read what a task or a future was refused with, so that nobody is told."""
    if not work.cancelled():
        work.exception()
