"""Work in Python that takes long, done in a thread so that the event loop goes on with others.

The interpreter's lock passes from thread to thread every few milliseconds, so this makes nothing
faster: it lets calls that need less be answered meanwhile. One thread does all of it, so large
requests wait for each other and for nobody else.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LARGE = 64 * 1024  # bytes of a request, or of stored text, that may take some milliseconds
REQUEST_BYTES: ContextVar[int] = ContextVar("REQUEST_BYTES", default=0)
_thread = ThreadPoolExecutor(1, thread_name_prefix="zart-aside")


async def decoded(decode: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Decode the request of the call that is served, aside where it is large."""
    return await done(REQUEST_BYTES.get(), decode, *args, **kwargs)


async def done(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do work on so many bytes: here, or aside where that may take long."""
    if size < LARGE:
        return work(*args, **kwargs)
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_thread, lambda: context.run(work, *args, **kwargs))
