"""Tells in the dispatcher's log of each attempt that did not complete, in one line.

What an error says may be a payload, and a log is read by many: it tells of which kind it is and
where it was raised. ``zart status`` shows the rest to those who may see it.
"""

from __future__ import annotations

import logging

from zart.dispatcher.held import Held, seconds_of
from zart.v1 import dispatch_service_pb2 as pb

_log = logging.getLogger(__name__)


def tell_failure(held: Held, outcome: pb.TaskOutcome) -> None:
    """Tell of an outcome, where it is a failure."""
    if outcome.HasField("failed"):
        how = "failed" if outcome.failed.retryable else "failed for good"
        error = outcome.failed.error.type
        what = f"{how}: {error}{held.raised_at}"
    elif outcome.HasField("timed_out"):
        error, what = "", f"timed out after {seconds_of(held.task.timeout):g} s"
    else:
        return
    context = held.context
    extra = {
        name: getattr(context, name)
        for name in ("execution_id", "run_number", "step_name", "attempt")
    }
    _log.warning(
        "%s/%s, attempt %d, %s", context.run_id, context.step_name, context.attempt, what,
        extra={**extra, **({"error": error} if error else {})},
    )  # fmt: skip
