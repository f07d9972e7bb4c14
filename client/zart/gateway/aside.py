"""Work on large bodies, done in a thread: the gateway goes on with other requests meanwhile.

One thread does all of it, so large requests wait for each other and for nobody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_LARGE = 64 * 1024  # bytes, of what may take some milliseconds
_thread = ThreadPoolExecutor(1, thread_name_prefix="zart-gateway-aside")


async def done(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do work on so many bytes: here, or aside where that may take long."""
    if size < _LARGE:
        return work(*args, **kwargs)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_thread, lambda: work(*args, **kwargs))
