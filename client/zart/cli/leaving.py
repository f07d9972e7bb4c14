"""The end of a dispatcher's process, whatever its steps still wait for."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

from zart.dispatcher.stopping import CLEAN_UP
from zart.tracing import flush

_log = logging.getLogger("zart.dispatcher")
_IDLE = 0.5  # seconds in which threads that have nothing to do end
_LOOP_AND_PYTHON = 5.0  # seconds in which the event loop ends, and Python joins all threads
_LAST_WORDS = 5.0  # seconds for the last lines of the log, and the last spans
_AWAITED = "zart-awaited"  # threads of what handlers await, by asyncio.to_thread for one
_PLAIN = "zart-step"  # threads of plain handlers


def threads_of_the_loop() -> ThreadPoolExecutor:
    """Make the threads for what is awaited in one, and have the running loop use them."""
    threads = ThreadPoolExecutor(thread_name_prefix=_AWAITED)
    asyncio.get_running_loop().set_default_executor(threads)
    return threads


async def leave_what_does_not_end(
    threads: ThreadPoolExecutor, failure: BaseException | None = None, *, is_process: bool = True
) -> None:
    """End the process here if handlers do not end; to be called once the dispatcher has.

    ``failure``: what the dispatcher raised; the process's exit code is 1 then, else 0. Without
    ``is_process`` it is a program's that has called the command, and goes on.

    Else the end of the loop, or of Python, would wait for them without bound, while others run
    their steps: these were told lost, and nothing that their handlers may still do is wanted. Where
    those two have not come soon after this returned, the process ends all the same: handlers may
    have threads of their own, or what the loop is to close.
    """
    if not is_process:
        return
    threads.shutdown(wait=False, cancel_futures=True)
    others = _others()
    for each in others:
        each.cancel()
    if others:
        await asyncio.wait(others, timeout=CLEAN_UP)
    tasks = _others()
    stuck = _stuck_threads()
    if tasks or stuck:
        what = f"{len(tasks)} tasks and {len(stuck)} threads of steps do not end"
        end_process(what, failure)
    last = threading.Timer(
        _LOOP_AND_PYTHON, end_process, ("what steps began does not end", failure)
    )
    last.daemon = True
    last.start()
    atexit.register(last.cancel)  # all threads have ended by then


def end_process(why: str, failure: BaseException | None = None) -> NoReturn:
    """End the process, from any thread: what runs at the end of Python does not run."""
    try:
        # In a thread: whoever reads the log may not, or what holds the process up may hold a lock.
        words = threading.Thread(target=_last_words, args=(why, failure), daemon=True)
        words.start()
        words.join(_LAST_WORDS)
    finally:
        os._exit(0 if failure is None else 1)


def _last_words(why: str, failure: BaseException | None) -> None:
    if failure is not None:
        _log.error("the dispatcher failed", exc_info=failure)
    _log.warning("%s: the process ends all the same", why)
    flush()
    logging.shutdown()
    sys.stdout.flush()


def _others() -> set[asyncio.Task[object]]:
    return {each for each in asyncio.all_tasks() if each is not asyncio.current_task()}


def _stuck_threads() -> list[threading.Thread]:
    """Return the handlers' threads that are still at work; those that are idle end meanwhile."""
    until = time.monotonic() + _IDLE
    found = [each for each in threading.enumerate() if each.name.startswith((_AWAITED, _PLAIN))]
    for each in found:
        each.join(max(0.0, until - time.monotonic()))
    return [each for each in found if each.is_alive()]
