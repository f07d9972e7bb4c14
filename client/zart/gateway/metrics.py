"""What a gateway tells Prometheus of the requests that it serves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)


class OfTheGateway(Collector):
    """Counts the requests of one gateway."""

    def __init__(self) -> None:
        self._requests = Counter(
            "zart_gateway_requests",
            "Requests by method and HTTP status; 499: the caller went away before its answer",
            ["method", "kind", "code"],
            registry=None,
        )
        self._seconds = Histogram(
            "zart_gateway_request_seconds",
            "Duration of requests",
            ["method", "kind"],
            buckets=_SECONDS,
            registry=None,
        )
        self._in_progress = Gauge(
            "zart_gateway_requests_in_progress",
            "Requests under way: those that wait by design (watches), and all others",
            ["kind"],
            registry=None,
        )
        for kind in ("call", "watch"):
            self._in_progress.labels(kind)

    def collect(self) -> Iterable[Metric]:
        """Yield the families."""
        for each in (self._requests, self._seconds, self._in_progress):
            yield from each.collect()

    @contextlib.contextmanager
    def under_way(self, *, waits: bool) -> Iterator[None]:
        """Count a request as one that is under way. ``waits``: by design."""
        with self._in_progress.labels(_kind(waits=waits)).track_inprogress():
            yield

    def served(self, method: str, code: str, seconds: float, *, waits: bool) -> None:
        """Count a request that is over. ``method``: that of the RPC, or ``unknown``."""
        kind = _kind(waits=waits)
        self._requests.labels(method, kind, code).inc()
        self._seconds.labels(method, kind).observe(seconds)


def _kind(*, waits: bool) -> str:
    return "watch" if waits else "call"
