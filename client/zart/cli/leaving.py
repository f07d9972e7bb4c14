"""The end of a dispatcher's process, whatever its steps still wait for."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from zart.tracing import flush

_log = logging.getLogger("zart.dispatcher")
_CLEANUP = 1.0  # seconds in which cancelled handlers may clean up; others have as many to end
_IDLE = 0.5  # seconds in which threads that have nothing to do end
_AWAITED = "zart-awaited"  # threads of what handlers await, by asyncio.to_thread for one
_PLAIN = "zart-step"  # threads of plain handlers


def threads_of_the_loop() -> ThreadPoolExecutor:
    """Make the threads for what is awaited in one, and have the running loop use them."""
    threads = ThreadPoolExecutor(thread_name_prefix=_AWAITED)
    asyncio.get_running_loop().set_default_executor(threads)
    return threads


async def leave_what_does_not_end(threads: ThreadPoolExecutor) -> None:
    """End the process here if handlers do not end; to be called once the dispatcher has.

    Else the end of the loop, or of Python, would wait for them without bound, while others run
    their steps: these were told lost, and nothing that their handlers may still do is wanted.
    """
    await _ended({each for each in _others() if each.cancelling()})
    threads.shutdown(wait=False, cancel_futures=True)
    others = _others()
    for each in others:
        each.cancel()
    await _ended(others)
    tasks = _others()
    stuck = _stuck_threads()
    if not tasks and not stuck:
        return
    _log.warning(
        "%d tasks and %d threads of steps do not end: the process ends without them",
        len(tasks), len(stuck),
    )  # fmt: skip
    try:
        flush()
        logging.shutdown()
        sys.stdout.flush()
    finally:
        os._exit(0)


def _others() -> set[asyncio.Task[object]]:
    return {each for each in asyncio.all_tasks() if each is not asyncio.current_task()}


async def _ended(tasks: set[asyncio.Task[object]]) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=_CLEANUP)


def _stuck_threads() -> list[threading.Thread]:
    """Return the handlers' threads that are still at work; those that are idle end meanwhile."""
    until = time.monotonic() + _IDLE
    found = [each for each in threading.enumerate() if each.name.startswith((_AWAITED, _PLAIN))]
    for each in found:
        each.join(max(0.0, until - time.monotonic()))
    return [each for each in found if each.is_alive()]
