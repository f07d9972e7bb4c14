"""Counts calls. Those that wait by design, long polls and watches, are told apart by their kind."""

from __future__ import annotations

import functools

from prometheus_client import Counter, Histogram

from zart_server.api.limits import is_waiting
from zart_server.domain.distribution import CALL_SECONDS

CALLS = Counter(
    "zart_calls_total",
    "Calls by method and outcome",
    ["method", "kind", "code", "reason"],
    registry=None,
)
SECONDS = Histogram(
    "zart_call_seconds",
    "Duration of calls",
    ["method", "kind"],
    buckets=CALL_SECONDS,
    registry=None,
)
OPERATIONS = Counter(
    "zart_operations_total",
    "Operations that callers asked for, by their outcome: done, planned or refused",
    ["kind", "outcome"],
    registry=None,
)
_LONG_POLL = "/zart.v1.DispatchService/LeaseTasks"


def kind_of(method: str) -> str:
    """Return of what kind calls of a method are: long_poll, watch, or call, for all others."""
    if method == _LONG_POLL:
        return "long_poll"
    return "watch" if is_waiting(method) else "call"


# To look up a metric by its labels takes longer than to count.
@functools.cache
def calls(method: str, code: str, reason: str) -> Counter:
    """Return the counter of calls of a method that ended so."""
    return CALLS.labels(method, kind_of(method), code, reason)


@functools.cache
def seconds(method: str) -> Histogram:
    """Return the histogram of the calls of a method."""
    return SECONDS.labels(method, kind_of(method))


@functools.cache
def operations(kind: str, outcome: str) -> Counter:
    """Return the counter of operations of a kind that had this outcome."""
    return OPERATIONS.labels(kind, outcome)
