"""Runs one handler and reports how its attempt ended.

``TimeLimits`` watches the time limit and calls ``InHand.expire``. ``LeaseKeeper`` watches the lease
and calls ``InHand.lose``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from zart.dispatcher.in_hand import InHand
from zart.dispatcher.outcomes import completed, failed_with, released, timed_out
from zart.dispatcher.own_frames import let_go, traceback_of
from zart.dispatcher.threads import Call, NotBegun, Threads
from zart.models import IfInDoubt
from zart.step_context import Step, StepContext
from zart.v1 import dispatch_service_pb2 as pb

Tell = Callable[[InHand, pb.TaskOutcome], None]

_NO_THREAD_DELAY = 5.0  # seconds; leased again at once, it would come back here


async def run_handler(in_hand: InHand, step: Step[Any, Any], threads: Threads, tell: Tell) -> None:
    """Run a handler, and report its outcome at most once; never after its lease was lost.

    But of a step that is not to run twice, whatever it tells after that is reported: it changes
    nothing, and is the best evidence there is of whether it happened. Raises CancelledError if the
    attempt is cancelled for another reason than its lease or its time.
    """
    in_hand.begun = True
    in_hand.tells_late = tells_late = step.spec.if_in_doubt == IfInDoubt.STOP
    if step.is_async:
        await _run_async(in_hand, step.function, tell, tells_late=tells_late)
    else:
        await _run_in_thread(in_hand, step.function, threads, tell, tells_late=tells_late)


async def _run_async(
    in_hand: InHand,
    function: Callable[[StepContext], Awaitable[Any]],
    tell: Tell,
    *,
    tells_late: bool,
) -> None:
    in_hand.is_handled = True
    try:
        result = await function(in_hand.context)
    except BaseException as error:  # noqa: BLE001 - a handler may raise anything
        at = traceback_of(error)  # first of all
        try:
            if isinstance(error, asyncio.CancelledError) and in_hand.was_cancelled_by_others():
                raise
            if isinstance(error, GeneratorExit) and not in_hand.is_running_here():
                raise  # not the handler's: its coroutine is discarded after the loop has ended
            is_over = in_hand.lost or in_hand.expired
            if in_hand.expired and not in_hand.lost:
                tell(in_hand, timed_out(in_hand))
            # Of one that is over, not that it was stopped.
            if not is_over or (tells_late and isinstance(error, Exception)):
                tell(in_hand, failed_with(in_hand, error, at))
            let_go(error)
            return
        finally:
            del (
                at
            )  # its first frame is this one: the payload would stay until all garbage is looked for
    if tells_late or not in_hand.lost:
        tell(in_hand, completed(in_hand, result))


async def _run_in_thread(
    in_hand: InHand,
    function: Callable[[StepContext], Any],
    threads: Threads,
    tell: Tell,
    *,
    tells_late: bool,
) -> None:
    """Run a plain handler in a thread, and return when the handler has returned.

    A thread cannot be stopped: a handler that is no longer wanted can see ``ctx.cancelled``, keeps
    its slot until it returns, and its result is dropped. A timeout is reported at once. Where there
    is no thread for it, it is not called, and is given back.
    """

    def work(context: StepContext) -> Any:  # noqa: ANN401 - its outcome, or what is to be awaited
        # In the thread: a result of a mebibyte would hold the loop for as long as it is encoded.
        try:
            result = function(context)
            return result if inspect.isawaitable(result) else completed(in_hand, result)
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything
            return failed_with(in_hand, error, traceback_of(error))

    try:
        call = threads.start(work, in_hand.context)
    except NotBegun:
        tell(in_hand, released(in_hand, _NO_THREAD_DELAY))
        return
    in_hand.is_handled = True
    if await _is_told_before(call, in_hand, tell) or in_hand.lost:
        is_begun = not inspect.isawaitable(call.result)
        if inspect.iscoroutine(call.result):
            call.result.close()  # it is not to begin any more
        if not (is_begun and tells_late):
            return
    if call.error is not None:  # not the handler's
        raise call.error
    if inspect.isawaitable(call.result):
        await _run_async(in_hand, lambda _: call.result, tell, tells_late=tells_late)
    else:
        tell(in_hand, call.result)


async def _is_told_before(call: Call, in_hand: InHand, tell: Tell) -> bool:
    """Wait until a call has ended; return whether its time was up, and is told, before that.

    The loop may learn of both at once, if it stood still: then what the handler told stands. It may
    have returned in good time, and of a step that is not to run twice nobody would know.
    """
    is_told = False
    while not call.has_ended:
        try:
            await call.wait()
        except asyncio.CancelledError:
            if in_hand.was_cancelled_by_others():
                raise
            has_told = call.has_returned and not inspect.isawaitable(call.result)
            if not (in_hand.lost or is_told or has_told):
                is_told = True
                tell(in_hand, timed_out(in_hand))
    return is_told
