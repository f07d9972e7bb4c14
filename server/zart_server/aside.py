"""Work in Python that takes long, done in a thread so that the event loop goes on with others.

The interpreter's lock passes from thread to thread every few milliseconds, so this makes nothing
faster: it lets calls that need less be answered meanwhile. One thread does all of it, so large
requests wait for each other and for nobody else.

What is done while a connection is held has a thread of its own: who holds locks waits for nobody's
request. ``store/connection.py: Connection.aside`` is for that, as PostgreSQL has to hear of a
transaction meanwhile.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LARGE = 64 * 1024  # bytes of a request, or of stored text, that may take some milliseconds
REQUEST_BYTES: ContextVar[int] = ContextVar("REQUEST_BYTES", default=0)
_thread = ThreadPoolExecutor(1, thread_name_prefix="zart-aside")
_held = ThreadPoolExecutor(1, thread_name_prefix="zart-aside-held")
# Seconds between two signs of life: PostgreSQL waits four times as long for one, as a busy machine
# gives them late.
_SIGNS = 0.5


async def decoded(decode: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Decode the request of the call that is served, aside where it is large."""
    return await done(REQUEST_BYTES.get(), decode, *args, **kwargs)


async def done(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do work on so many bytes: here, or aside where that may take long."""
    if size < LARGE:
        return work(*args, **kwargs)
    return await _begun(_thread, work, *args, **kwargs)


async def done_while_held(
    sign: Callable[[], Awaitable[object]],
    size: int,
    work: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Do work as ``done`` does, with a ``sign`` of life every half second until it is done.

    No sign is on its way any more once this returns. Raises also what ``sign`` raises: nobody waits
    for the work then.
    """
    if size < LARGE:
        return work(*args, **kwargs)
    doing = _begun(_held, work, *args, **kwargs)
    try:
        await waited_for(sign, doing)
        return doing.result()
    finally:
        doing.cancel()  # what has not begun yet need not
        del doing  # its error knows this frame: together they would keep the arguments for long


async def waited_for(sign: Callable[[], Awaitable[object]], doing: asyncio.Future[T]) -> None:
    """Wait until something is done or has failed, with a ``sign`` of life every half second."""
    while not (await asyncio.wait([doing], timeout=_SIGNS))[0]:
        await sign()


def _begun(
    thread: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> asyncio.Future[T]:
    context = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    return loop.run_in_executor(thread, lambda: context.run(work, *args, **kwargs))
