"""Holds up a thread for large bodies, as others' requests and answers do."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Callable

from waiting import GIVE_UP, until

from zart.gateway.aside import Aside


@contextlib.asynccontextmanager
async def held_up(one: Aside) -> AsyncIterator[Callable[[], int]]:
    """Give one something else to do until the context is left; gives how much waits for it."""
    go_on = threading.Event()
    try:
        one.thread.submit(go_on.wait, GIVE_UP)
        await until(lambda: not one.thread._work_queue.qsize())  # it has begun
        yield one.thread._work_queue.qsize
    finally:
        go_on.set()
