"""A registry of one process: what it is, what it takes of the machine, and what else it tells."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from zart.version import installed_version


class Build(Collector):
    """What runs: ``component`` is server, gateway or dispatcher."""

    def __init__(self, component: str) -> None:
        self._labels = {
            "component": component,
            "version": installed_version(),
            "python": platform.python_version(),
        }

    def collect(self) -> Iterator[Metric]:
        """Yield the one series."""
        found = GaugeMetricFamily("zart_build_info", "What runs, as labels", labels=[*self._labels])
        found.add_metric([*self._labels.values()], 1)
        yield found


def registry_of(component: str, collectors: Iterable[Collector]) -> CollectorRegistry:
    """Return a registry that has nothing of other parts of the process."""
    # A series for each that Prometheus makes nothing of.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types for it
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(Build(component))
    for collector in collectors:
        registry.register(collector)
    return registry
