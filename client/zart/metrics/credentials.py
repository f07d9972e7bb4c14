"""What a process tells Prometheus of the files and URLs by which it is known, and knows others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Followed(Protocol):
    """What is read anew when it changes; what cannot be used changes nothing."""

    def is_stale(self) -> bool:
        """Return whether the last reading failed."""


class Served(Followed, Protocol):
    """A certificate that callers are shown."""

    def ends_at(self) -> float | None:
        """Return when it ends, in seconds since 1970; None: it cannot be read."""


class OfTheCredentials(Collector):
    """Tells when the certificate ends, and what is out of date; of what is not set up, nothing.

    ``others`` are named as the label ``what`` has them, and so is what may be missing: ``missing``
    tells whether it has been so since the process began.
    """

    def __init__(
        self,
        certificate: Served | None,
        others: Mapping[str, Followed],
        missing: Mapping[str, Callable[[], bool]] | None = None,
    ) -> None:
        self._certificate = certificate
        self._missing = dict(missing or {})
        self._followed = dict(others)
        if certificate is not None:
            self._followed["certificate"] = certificate

    def collect(self) -> Iterator[Metric]:
        """Yield the families that have a series."""
        end = None if self._certificate is None else self._certificate.ends_at()
        if end is not None:
            yield GaugeMetricFamily(
                "zart_certificate_not_after_seconds",
                "When the certificate that is served ends, since 1970",
                value=end,
            )
        if self._followed:
            yield _of_each(
                "zart_credentials_stale",
                "1 while the last reading could not be used: what was known before it counts",
                {what: each.is_stale() for what, each in self._followed.items()},
            )
        if self._missing:
            yield _of_each(
                "zart_credentials_missing",
                "1 until it was there once: whoever is known by it is refused",
                {what: is_missing() for what, is_missing in self._missing.items()},
            )


def _of_each(name: str, does: str, values: Mapping[str, bool]) -> GaugeMetricFamily:
    found = GaugeMetricFamily(name, does, labels=["what"])
    for what, value in values.items():
        found.add_metric([what], value)
    return found
