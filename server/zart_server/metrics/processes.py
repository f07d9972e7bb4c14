"""What the processes of one server tell Prometheus, at one address, each with its number."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

_PATIENCE = 5.0  # seconds, with one process
_OK = 200

Addresses = Callable[[], Mapping[int, str]]


class OfTheProcesses(Collector):
    """Reads the metrics of each process whenever it is asked; ``addresses`` by their numbers.

    A process that does not answer is left out, and ``zart_process_up`` says so.
    """

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses

    def collect(self) -> Iterator[Metric]:
        """Yield the families of all processes, merged, with the label ``process``."""
        addresses = self._addresses()
        up = GaugeMetricFamily(
            "zart_process_up",
            "Whether a process of the server tells its metrics",
            labels=["process"],
        )
        found: dict[str, Metric] = {}
        with ThreadPoolExecutor(max(1, len(addresses))) as threads:
            for number, text in zip(addresses, threads.map(_read, addresses.values()), strict=True):
                up.add_metric([str(number)], text is not None)
                for family in text_string_to_metric_families(text or ""):
                    merged = found.setdefault(
                        family.name, Metric(family.name, family.documentation, family.type)
                    )
                    merged.samples += [
                        sample._replace(labels={**sample.labels, "process": str(number)})
                        for sample in family.samples
                    ]
        yield up
        yield from found.values()


def registry_of_processes(addresses: Addresses) -> CollectorRegistry:
    """Return a registry of what the processes tell, and of nothing else."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(OfTheProcesses(addresses))
    return registry


def _read(address: str) -> str | None:
    """Return what a process tells; None: it does not answer, or is not there yet."""
    if not address:
        return None
    connection = http.client.HTTPConnection(address, timeout=_PATIENCE)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        text = response.read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return text if response.status == _OK else None
