"""Waiting for work that goes on when its caller leaves."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

T = TypeVar("T")


async def outcome_of(work: asyncio.Future[T]) -> T:
    """Wait for a task or a future that the waiting call's cancellation does not touch.

    Where the caller has left, what the work is refused with concerns nobody: it is not told.
    (``asyncio.shield`` would leave it to be logged as an error that was never retrieved, or, in
    newer Pythons, log it itself.)
    """
    work.add_done_callback(read)
    await asyncio.wait([work])
    return work.result()


def read(work: asyncio.Future[Any]) -> None:
    """Read what a task or a future was refused with, so that nobody is told."""
    if not work.cancelled():
        work.exception()
