"""What a log line says of the attempt that it is about, besides its words."""

from __future__ import annotations

import contextlib

from zart.dispatcher.in_hand import InHand
from zart.trace_context import trace_id_of, valid

_NAMES = ("execution_id", "run_number", "step_name", "attempt")


def fields_of(in_hand: InHand) -> dict[str, object]:
    """Return the ``extra`` of a line about an attempt: which one it is, and of which trace, if any.

    The trace is told here since many of these lines are logged outside it: by what reports, extends
    leases or stops, for all attempts.
    """
    found: dict[str, object] = {name: getattr(in_hand.context, name) for name in _NAMES}
    if trace_id := _trace_id(in_hand):
        found["trace_id"] = trace_id
    return found


def _trace_id(in_hand: InHand) -> str:
    """Return the id of the trace that its own span is in, else of its caller's; empty: of none."""
    with contextlib.suppress(Exception):  # of whatever this process traces with
        if in_hand.span is not None and (own := in_hand.span.get_span_context()).is_valid:
            return f"{own.trace_id:032x}"
    return trace_id_of(valid(in_hand.task.traceparent))
