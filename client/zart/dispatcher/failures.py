"""Logs each attempt that did not complete, in one line.

The text of an error may be a payload, and many people read a log. So the line has the error's type
and the line of code that raised it. ``zart status`` shows the rest to callers with that role.
"""

from __future__ import annotations

from zart.dispatcher.attempt_fields import fields_of
from zart.dispatcher.in_hand import InHand, seconds_of
from zart.dispatcher.log import Log
from zart.v1 import dispatch_service_pb2 as pb

_log = Log(__name__)


def log_failure(in_hand: InHand, outcome: pb.TaskOutcome) -> None:
    """Log an outcome if it is a failure, or a loss, which counts as one."""
    error = ""
    if outcome.HasField("failed"):
        how = "failed" if outcome.failed.retryable else "failed for good"
        error = outcome.failed.error.type
        what = f"{how}: {error}{in_hand.raised_at}"
    elif outcome.HasField("timed_out"):
        what = f"timed out after {seconds_of(in_hand.task.timeout):g} s"
    elif outcome.HasField("lost"):
        what = "lost: the dispatcher stops, and it has not ended in time"
    else:
        return
    context = in_hand.context
    _log.warning(
        "%s/%s, attempt %d, %s", context.run_id, context.step_name, context.attempt, what,
        extra={**fields_of(in_hand), **({"error": error} if error else {})},
    )  # fmt: skip
