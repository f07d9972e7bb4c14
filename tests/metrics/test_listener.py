"""Where metrics are served, and what is said where they cannot be."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from metrics.scraping import scraped
from waiting import GIVE_UP

from zart.metrics.failures import MetricsError
from zart.metrics.listener import serving_metrics
from zart.metrics.registry import registry_of
from zart.version import installed_version
from zart_server.settings import Settings, SettingsError


async def test_it_tells_what_runs_until_it_is_left() -> None:
    async with serving_metrics("127.0.0.1:0", registry_of("gateway", ())) as address:
        found = await scraped(address)
        version = installed_version()
        assert found("zart_build_info", component="gateway", version=version) == 1
    with pytest.raises(OSError, match="refused"):
        await scraped(address)


async def test_its_end_takes_no_thread_of_the_loop() -> None:
    """Steps of a dispatcher may have all of them, for as long as they like."""
    may_end = threading.Event()
    with ThreadPoolExecutor(1) as only_one:
        asyncio.get_running_loop().set_default_executor(only_one)
        async with asyncio.timeout(GIVE_UP):
            try:
                async with serving_metrics("127.0.0.1:0", registry_of("dispatcher", ())):
                    stuck = asyncio.create_task(asyncio.to_thread(may_end.wait))
                    await asyncio.sleep(0)
            finally:
                may_end.set()
        assert await stuck


async def test_a_port_that_is_taken_is_told() -> None:
    registry = registry_of("server", ())
    async with serving_metrics("127.0.0.1:0", registry) as address:
        with pytest.raises(MetricsError, match="ZART_METRICS_LISTEN to another address"):
            async with serving_metrics(address, registry):
                pass


async def test_without_an_address_nothing_is_served() -> None:
    async with serving_metrics(None, registry_of("server", ())) as address:
        assert address is None


def test_an_empty_address_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As gateways and dispatchers have it: files of settings have lines that are not filled in."""
    monkeypatch.setenv("ZART_METRICS_LISTEN", "")
    assert Settings.load(database_url="postgresql://h/d").metrics_listen is None


@pytest.mark.parametrize("listen", ["9464", "nowhere", ":9464", "127.0.0.1:70000"])
def test_a_server_wants_an_address_that_can_be(listen: str) -> None:
    with pytest.raises(SettingsError, match="ZART_METRICS_LISTEN: metrics are served on HOST:PORT"):
        Settings.load(database_url="postgresql://h/d", metrics_listen=listen)
