"""What became of an attempt, as the dispatcher tells the server."""

from __future__ import annotations

import traceback
from typing import Any

from zart.calls.call import span
from zart.calls.payload import json_text
from zart.dispatcher.held import Held
from zart.dispatcher.places import place_of
from zart.tasks import StepFailed
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1 import execution_pb2

_DETAILS = 12_000  # characters: the server keeps 16 KiB of an error
_RESULT = 1024 * 1024  # bytes of JSON: more is refused by the server, and much more not even sent
_REJECTED = "OutcomeRejected"


def completed(held: Held, result: Any) -> pb.TaskOutcome:  # noqa: ANN401 - what it returned
    """Tell of a result; one that is not JSON fails the step, and no repeat would cure it."""
    try:
        text = json_text(result)
        size = len(text) if text.isascii() else len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        return _failed(
            held,
            execution_pb2.StepError(
                type="ResultNotJson",
                message=f"the result, a {type(result).__name__}, is not JSON: {error}",
            ),
            retryable=False,
        )
    if size > _RESULT:
        return _failed(
            held,
            execution_pb2.StepError(
                type="ResultTooLarge",
                message=f"the result has {size} bytes of JSON, at most {_RESULT} are kept",
            ),
            retryable=False,
        )
    outcome = _outcome(held)
    outcome.completed.result_json = text
    return outcome


def failed_with(held: Held, error: BaseException) -> pb.TaskOutcome:
    """Tell of an exception; every one but ``StepFailed(retryable=False)`` is retried."""
    held.raised_at = place_of(error)
    details = error.details[:_DETAILS] if isinstance(error, StepFailed) else ""
    step_error = execution_pb2.StepError(
        type=type(error).__name__,
        message=_clean(str(error)[:_DETAILS]),
        details=_clean(details or "".join(traceback.format_exception(error))[-_DETAILS:]),
    )
    outcome = _failed(
        held, step_error, retryable=not isinstance(error, StepFailed) or error.retryable
    )
    if isinstance(error, StepFailed) and error.retry_after is not None:
        outcome.failed.retry_after.CopyFrom(span(error.retry_after))
    return outcome


def rejected(held: Held, outcome: pb.TaskOutcome, why: str) -> pb.TaskOutcome:
    """Tell that the server would not take the outcome, such as a result that it cannot store.

    A failure that was to be retried still is.
    """
    error = execution_pb2.StepError(type=_REJECTED, message=why)
    retryable = outcome.failed.retryable or not outcome.HasField("failed")
    return _failed(held, error, retryable=retryable and not outcome.HasField("completed"))


def is_rejection(outcome: pb.TaskOutcome) -> bool:
    """Whether an outcome tells that another one was not taken."""
    return outcome.failed.error.type == _REJECTED


def timed_out(held: Held) -> pb.TaskOutcome:
    """Tell that the time was up."""
    outcome = _outcome(held)
    outcome.timed_out.SetInParent()
    return outcome


def released(held: Held, retry_after: float = 0.0) -> pb.TaskOutcome:
    """Return the task back."""
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
