"""Reads what a process tells Prometheus."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from waiting import GIVE_UP, eventually

Series = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Scrape:
    """What one scrape gave: the type of each family, and the value of each series."""

    types: Mapping[str, str]
    values: Mapping[Series, float]

    def __call__(self, name: str, **labels: str) -> float:
        """Return the value of a series: the sum of all that have these labels; 0, if none has."""
        return sum(value for found, value in self.of(name) if labels.items() <= found.items())

    def of(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """Yield the labels and the value of each series of a name."""
        for (found, labels), value in self.values.items():
            if found == name:
                yield dict(labels), value

    def labels(self, name: str, label: str) -> set[str]:
        """Return the values that a label has."""
        return {labels[label] for labels, _ in self.of(name)}


def scrape(address: str, timeout: float = GIVE_UP) -> Scrape:
    """Read the metrics that are served at an address."""
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        assert response.status == 200
        text = response.read().decode()
    finally:
        connection.close()
    families = list(text_string_to_metric_families(text))
    return Scrape(
        {family.name: family.type for family in families},
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        },
    )


async def scraped(address: str | None) -> Scrape:
    """Read them while the event loop goes on."""
    assert address is not None
    return await asyncio.to_thread(scrape, address)


async def scraped_with_database(address: str | None) -> Scrape:
    """Read them with what is in the database, for the reading of which a scrape waits a moment."""
    found: list[Scrape] = []

    async def is_told() -> bool:
        found[:] = [await scraped(address)]
        return "zart_steps" in found[0].types

    await eventually(is_told)
    return found[0]
