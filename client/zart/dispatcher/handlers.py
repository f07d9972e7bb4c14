"""Runs one handler and tells how its attempt ended.

Whoever runs one watches its time and its lease, and says so by ``Held.expire`` and ``Held.lose``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from zart.dispatcher.held import Held
from zart.dispatcher.outcomes import completed, failed_with, timed_out
from zart.dispatcher.threads import Threads
from zart.step_context import StepContext
from zart.tasks import Step
from zart.v1 import dispatch_service_pb2 as pb

Tell = Callable[[Held, pb.TaskOutcome], None]


async def run_handler(held: Held, step: Step[Any, Any], threads: Threads, tell: Tell) -> None:
    """Run a handler; what became of it is told at most once, and never of a lost lease.

    Raises CancelledError where it is cancelled for another reason than its lease or its time.
    """
    held.begun = True
    if step.is_async:
        await _run_async(held, step.function, tell)
    else:
        await _run_in_thread(held, step.function, threads, tell)


async def _run_async(
    held: Held, function: Callable[[StepContext], Awaitable[Any]], tell: Tell
) -> None:
    try:
        result = await function(held.context)
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and held.was_cancelled_by_others():
            raise
        if isinstance(error, GeneratorExit) and not held.is_running_here():
            raise  # not the handler's: its coroutine is thrown away, after the loop has ended
        if not held.lost:
            tell(held, timed_out(held) if held.expired else failed_with(held, error))
        return
    if not held.lost:
        tell(held, completed(held, result))


async def _run_in_thread(
    held: Held, function: Callable[[StepContext], Any], threads: Threads, tell: Tell
) -> None:
    """Run a plain handler in a thread, and return when it has.

    A thread cannot be stopped, it sees ``ctx.cancelled``: it keeps its slot until it returns, what
    it returns is dropped. That its time is up is told at once.
    """
    call = threads.start(function, held.context)
    is_told = False
    while not call.has_ended:
        try:
            await call.wait()
        except asyncio.CancelledError:
            if held.was_cancelled_by_others():
                raise
            if not (held.lost or is_told):
                is_told = True
                tell(held, timed_out(held))
    if is_told or held.lost:
        return
    if call.error is not None:
        tell(held, failed_with(held, call.error))
        call.error = None  # its traceback knows the call: no garbage for later
    elif inspect.isawaitable(call.result):
        await _run_async(held, lambda _: call.result, tell)
    else:
        tell(held, completed(held, call.result))
