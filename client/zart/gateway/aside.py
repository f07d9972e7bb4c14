"""Work on large bodies, done in threads: the gateway goes on with other requests meanwhile.

One thread reads requests and another writes answers. Large requests wait for each other, and so do
large answers; but no answer, which may be that of a change, waits for requests: anybody may send
those, before it is asked who calls.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LARGE = 64 * 1024  # bytes, of what may take some milliseconds


class Aside:
    """One thread, for work of one kind."""

    def __init__(self, name: str) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def done(self, size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do work on so many bytes: here, or aside where that may take long.

        Who is cancelled takes along what has not begun.
        """
        if size < LARGE:
            return work(*args, **kwargs)
        loop = asyncio.get_running_loop()
        # What is cancelled stays in the thread's queue until its turn: it is not to keep a body.
        held = [functools.partial(work, *args, **kwargs)]

        def begin() -> T:
            return held.pop()()

        try:
            return await loop.run_in_executor(self.thread, begin)
        finally:
            held.clear()


REQUESTS = Aside("zart-gateway-requests")
ANSWERS = Aside("zart-gateway-answers")
