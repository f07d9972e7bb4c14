"""Outcomes of attempts, as the dispatcher reports them to the server."""

from __future__ import annotations

import math
from datetime import timedelta
from types import TracebackType
from typing import Any

from zart.calls.call import span
from zart.calls.payload import json_text
from zart.dispatcher.error_groups import errors_in
from zart.dispatcher.in_hand import InHand
from zart.dispatcher.locations import location_of
from zart.dispatcher.own_frames import let_go, own_frames, traceback_of
from zart.dispatcher.storable import why_not_stored
from zart.dispatcher.traceback_text import traceback_text
from zart.tasks import StepFailed
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1 import execution_pb2

_DETAILS = 12_000  # characters: the server keeps 16 KiB of an error
_RESULT = 1024 * 1024  # bytes of JSON: more is refused by the server, and much more not even sent
_LONGEST_DELAY = timedelta(days=366).total_seconds()  # a longer one is refused by the server
_REJECTED = "OutcomeRejected"
_UNTOLD = "its text cannot be told"


def completed(in_hand: InHand, result: Any) -> pb.TaskOutcome:  # noqa: ANN401 - what it returned
    """Return the outcome for a result; one that is not JSON, or is not stored, fails the step."""
    try:
        text = json_text(result)
        size = len(text) if text.isascii() else len(text.encode())
    except Exception as error:  # noqa: BLE001 - of the result's own classes, and of its size
        return _not_json(in_hand, result, f"is not JSON: {_words(error) or type(error).__name__}")
    if size > _RESULT:
        return _failed(
            in_hand,
            execution_pb2.StepError(
                type="ResultTooLarge",
                message=f"the result has {size} bytes of JSON, at most {_RESULT} are kept",
            ),
            retryable=False,
        )
    if why := why_not_stored(text):
        return _not_json(in_hand, result, why)
    outcome = _outcome(in_hand)
    outcome.completed.result_json = text
    return outcome


def _not_json(in_hand: InHand, result: object, why: str) -> pb.TaskOutcome:
    told = f"the result, a {type(result).__name__}, {why}"
    error = execution_pb2.StepError(type="ResultNotJson", message=_clean(told[:_DETAILS]))
    return _failed(in_hand, error, retryable=False)


def results_too_large(in_hand: InHand, fetched: int, most: int) -> pb.TaskOutcome:
    """Return the outcome of an attempt whose step depends on more results than it may be given.

    ``fetched``: how many bytes of JSON its results have so far, more than ``most``.
    """
    task = in_hand.task
    given = len(task.upstream_json)
    message = (
        f"{task.step_name!r} depends on too much: {given} of the"
        f" {given + len(task.upstream_omitted)} results that it needs have {fetched} bytes of JSON,"
        f" at most {most} are fetched for an attempt (results_mib of its dispatcher): let steps"
        " pass where large results are"
    )
    error = execution_pb2.StepError(type="ResultsTooLarge", message=message)
    return _failed(in_hand, error, retryable=False)


def failed_with(
    in_hand: InHand, error: BaseException, at: TracebackType | None = None
) -> pb.TaskOutcome:
    """Return the outcome for an exception; all but ``StepFailed(retryable=False)`` are retried.

    Of a group, as of the step's own TaskGroup, one such error is enough, and the longest delay is
    told. A group of one error is told as that error, with the traceback of the whole. ``at``: the
    traceback, as it was when its handler's caller caught it; None: all of the error's. It has none
    from now on.

    A step's own class may lack what StepFailed sets, or hold there what can be nothing of the
    kind: that is left out, and changes nothing of the rest.
    """
    raised = errors_in(error)
    told = [each for each in raised if isinstance(each, StepFailed)]
    retryable = all(bool(getattr(each, "retryable", True)) for each in told)
    shown = raised[0] if len(raised) == 1 else error
    try:
        details = getattr(shown, "details", None) if isinstance(shown, StepFailed) else None
        own = traceback_of(error) if at is None else own_frames(at)
        in_hand.raised_at = location_of(own if shown is error else traceback_of(shown))
        step_error = _error_of(shown, details, error, own)
    except BaseException:  # noqa: BLE001 - whatever its class does: an attempt is told, or its lease never ends
        step_error = execution_pb2.StepError(type=type(shown).__name__, message=_UNTOLD)
    let_go(error)
    outcome = _failed(in_hand, step_error, retryable=retryable)
    delays = [_delay(getattr(each, "retry_after", None)) for each in told]
    if known := [each for each in delays if each is not None]:
        outcome.failed.retry_after.CopyFrom(span(max(known)))
    return outcome


def rejected(in_hand: InHand, outcome: pb.TaskOutcome, why: str) -> pb.TaskOutcome:
    """Return the outcome that follows one which the server rejected, as it could not store it.

    A failure that was to be retried is still retried. If it said when, that may be why: it is told
    again with its own error, and without that. So is a task that is given back.
    """
    if outcome.released.HasField("retry_after"):
        again = _outcome(in_hand)
        again.released.not_begun = outcome.released.not_begun
        return again
    if outcome.failed.HasField("retry_after"):
        error = execution_pb2.StepError()
        error.CopyFrom(outcome.failed.error)
        error.message += f" (its retry_after is left out, the outcome was rejected: {why})"
        return _failed(in_hand, error, retryable=outcome.failed.retryable)
    error = execution_pb2.StepError(type=_REJECTED, message=why)
    retryable = outcome.failed.retryable or not outcome.HasField("failed")
    return _failed(in_hand, error, retryable=retryable and not outcome.HasField("completed"))


def is_rejection(outcome: pb.TaskOutcome) -> bool:
    """Return whether an outcome reports that another outcome was rejected."""
    return outcome.failed.error.type == _REJECTED


def timed_out(in_hand: InHand) -> pb.TaskOutcome:
    """Return the outcome of an attempt whose time was up."""
    outcome = _outcome(in_hand)
    outcome.timed_out.SetInParent()
    return outcome


def released(in_hand: InHand, retry_after: float = 0.0) -> pb.TaskOutcome:
    """Return the outcome that gives a task back whose handler has not begun."""
    outcome = _outcome(in_hand)
    outcome.released.not_begun = True
    if retry_after:
        outcome.released.retry_after.CopyFrom(span(retry_after))
    return outcome


def lost(in_hand: InHand) -> pb.TaskOutcome:
    """Return the outcome of an attempt whose handler is at work when its dispatcher stops."""
    outcome = _outcome(in_hand)
    outcome.lost.SetInParent()
    return outcome


def _failed(in_hand: InHand, error: execution_pb2.StepError, *, retryable: bool) -> pb.TaskOutcome:
    outcome = _outcome(in_hand)
    outcome.failed.error.CopyFrom(error)
    outcome.failed.retryable = retryable
    return outcome


def _outcome(in_hand: InHand) -> pb.TaskOutcome:
    return pb.TaskOutcome(task_id=in_hand.task.task_id, lease_token=in_hand.task.lease_token)


def _error_of(
    error: BaseException, given: object, whole: BaseException, at: TracebackType | None
) -> execution_pb2.StepError:
    details = "" if given is None else _words(given)[:_DETAILS]
    return execution_pb2.StepError(
        type=type(error).__name__,
        message=_clean(_words(error)[:_DETAILS]),
        details=_clean(details or traceback_text(whole, at)[-_DETAILS:]),
    )


def _delay(wanted: Any) -> float | None:  # noqa: ANN401 - what a step gave
    """Return seconds within what servers take: 0 to 366 days. None for what is no delay."""
    if wanted is None:
        return None
    try:
        seconds = wanted.total_seconds() if isinstance(wanted, timedelta) else float(wanted)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), _LONGEST_DELAY)


def _words(of: object) -> str:
    """Return what an object says of itself, which its class may be unable to."""
    try:
        return str(of)
    except Exception:  # noqa: BLE001 - of a step's own class
        return _UNTOLD


def _clean(text: str) -> str:
    """Return text that can be encoded: a lone surrogate is replaced."""
    return text.encode(errors="replace").decode()
