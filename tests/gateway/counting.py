"""A gateway that counts its requests, and what it tells of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gateway.sending import Http, gateway_to
from metrics.scraping import scraped
from ports import free_port
from waiting import eventually


class Counting(NamedTuple):
    """A gateway that counts its requests, and where it tells of them."""

    http: Http
    metrics: str

    async def counted(self) -> dict[tuple[str, str], float]:
        """Return how many requests have ended, by method and code."""
        found = await scraped(self.metrics)
        return {
            (labels["method"].rpartition("/")[2], labels["code"]): value
            for labels, value in found.of("zart_gateway_requests_total")
        }

    async def counts(self, expected: Mapping[tuple[str, str], float]) -> None:
        """Wait until as many have ended, and see that these are what is counted."""

        async def have_ended() -> bool:
            return sum((await self.counted()).values()) >= sum(expected.values())

        await eventually(have_ended)
        assert await self.counted() == expected


@contextlib.contextmanager
def counting(address: str, **settings: Any) -> Iterator[Counting]:
    """Run a gateway to a server until the context is left."""
    metrics = f"127.0.0.1:{free_port()}"
    with gateway_to(address, metrics_listen=metrics, **settings) as http_:
        yield Counting(http_, metrics)
