"""Runs one handler and tells how its attempt ended."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any

from zart.calls.call import span
from zart.calls.payload import json_text
from zart.dispatcher.held import Held
from zart.tasks import StepContext, StepFailed
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1 import execution_pb2

_DETAILS = 12_000  # characters: the server keeps 16 KiB of an error


async def run_async(held: Held, begin: Callable[[], Awaitable[Any]]) -> pb.TaskOutcome | None:
    """Run an ``async def`` handler in this task; a lost lease cancels it, and nothing is told."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout_at(max(held.deadline, loop.time())) as time_limit:
            result = await begin()
    except (Exception, SystemExit, asyncio.CancelledError) as error:
        if held.lost:
            return None
        if time_limit.expired():
            return timed_out(held)
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
        return failed_with(held, error)
    return None if held.lost else completed(held, result)


async def run_in_thread(
    held: Held,
    function: Callable[[StepContext], Any],
    threads: Executor,
    tell: Callable[[pb.TaskOutcome], None],
) -> None:
    """Run a plain handler in a thread, and return when it has.

    What became of it is told at once when its time is up, or never when its lease is lost: a
    thread cannot be stopped, it sees ``ctx.cancelled``. Cancelling this coroutine means the same.
    """
    loop = asyncio.get_running_loop()
    call = contextvars.copy_context().run
    running = loop.run_in_executor(threads, call, _guarded, function, held.context)
    told = False
    dropped = False
    while not running.done():
        left = None if told or held.lost else max(0.0, held.deadline - loop.time())
        try:
            done, _ = await asyncio.wait({running}, timeout=left)
        except asyncio.CancelledError:
            if dropped or not held.lost:
                raise
            dropped = True  # it keeps its slot until it returns, what it returns is dropped
            continue
        if not done and not told:
            told = True
            held.context._cancelled.set()  # noqa: SLF001 - the dispatcher's half of ctx.cancelled
            tell(timed_out(held))
    if told or held.lost:
        return
    result, error = running.result()
    if error is not None:
        tell(failed_with(held, error))
    elif inspect.isawaitable(result):
        outcome = await run_async(held, lambda: result)
        if outcome is not None:
            tell(outcome)
    else:
        tell(completed(held, result))


def _guarded(
    function: Callable[[StepContext], Any], context: StepContext
) -> tuple[Any, BaseException | None]:
    """Call a handler; an exception is handed on as a value, so that none is re-raised here."""
    try:
        return function(context), None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a handler may raise anything
        return None, error


def completed(held: Held, result: Any) -> pb.TaskOutcome:  # noqa: ANN401 - what it returned
    """Tell of a result; one that is not JSON fails the step, and no repeat would cure it."""
    try:
        text = json_text(result)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        return _failed(
            held,
            execution_pb2.StepError(
                type="ResultNotJson",
                message=f"the result, a {type(result).__name__}, is not JSON: {error}",
            ),
            retryable=False,
        )
    outcome = _outcome(held)
    outcome.completed.result_json = text
    return outcome


def failed_with(held: Held, error: BaseException) -> pb.TaskOutcome:
    """Tell of an exception; every one but ``StepFailed(retryable=False)`` is retried."""
    details = error.details if isinstance(error, StepFailed) else ""
    step_error = execution_pb2.StepError(
        type=type(error).__name__,
        message=_clean(str(error)),
        details=_clean(details or "".join(traceback.format_exception(error))[-_DETAILS:]),
    )
    outcome = _failed(
        held, step_error, retryable=not isinstance(error, StepFailed) or error.retryable
    )
    if isinstance(error, StepFailed) and error.retry_after is not None:
        outcome.failed.retry_after.CopyFrom(span(error.retry_after))
    return outcome


def rejected(held: Held, why: str) -> pb.TaskOutcome:
    """Tell that the server would not take the outcome, such as a result too large."""
    error = execution_pb2.StepError(type="OutcomeRejected", message=why)
    return _failed(held, error, retryable=False)


def timed_out(held: Held) -> pb.TaskOutcome:
    """Tell that the time was up."""
    outcome = _outcome(held)
    outcome.timed_out.SetInParent()
    return outcome


def released(held: Held, retry_after: float = 0.0) -> pb.TaskOutcome:
    """Give the task back."""
    outcome = _outcome(held)
    outcome.released.SetInParent()
    if retry_after:
        outcome.released.retry_after.CopyFrom(span(retry_after))
    return outcome


def _failed(held: Held, error: execution_pb2.StepError, *, retryable: bool) -> pb.TaskOutcome:
    outcome = _outcome(held)
    outcome.failed.error.CopyFrom(error)
    outcome.failed.retryable = retryable
    return outcome


def _outcome(held: Held) -> pb.TaskOutcome:
    return pb.TaskOutcome(task_id=held.task.task_id, lease_token=held.task.lease_token)


def _clean(text: str) -> str:
    """Make text that can be sent: a lone surrogate cannot."""
    return text.encode(errors="replace").decode()
