"""Makes families of series from what was counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

from zart_server.domain.distribution import Distribution

Labelled = Mapping[tuple[str, ...], float]


def gauge(name: str, does: str, labels: Iterable[str], values: Labelled) -> Metric:
    """Return a family of gauges, by the values of their labels."""
    found = GaugeMetricFamily(name, does, labels=tuple(labels))
    for key, value in values.items():
        found.add_metric(key, value)
    return found


def counter(name: str, does: str, labels: Iterable[str], values: Labelled) -> Metric:
    """Return a family of counters, by the values of their labels."""
    found = CounterMetricFamily(name, does, labels=tuple(labels))
    for key, value in values.items():
        found.add_metric(key, value)
    return found


def histogram(
    name: str, does: str, labels: Iterable[str], values: Mapping[tuple[str, ...], Distribution]
) -> Metric:
    """Return a family of histograms, by the values of their labels."""
    found = HistogramMetricFamily(name, does, labels=tuple(labels))
    for key, distribution in values.items():
        counts, total = distribution.read()
        bounds = [*map(floatToGoString, distribution.bounds), "+Inf"]
        found.add_metric(key, list(zip(bounds, counts, strict=True)), total)
    return found
