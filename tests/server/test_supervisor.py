"""The supervisor of several processes, as it stops: it starts none that nobody would stop."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import AsyncIterator

import pytest
from waiting import GIVE_UP, block_until, until

from zart_server.settings import Settings
from zart_server.supervisor import Supervisor


@contextlib.asynccontextmanager
async def supervising(database: str, processes: int) -> AsyncIterator[Supervisor]:
    """A supervisor that is at work, and ends by itself until the context is left."""
    given = {"database_url": database, "listen": "127.0.0.1:0", "drain_notice": 0.0}
    supervisor = Supervisor(Settings.load(processes=processes, **given))
    at_work = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
        assert await asyncio.wait_for(at_work, GIVE_UP) == 0
    finally:
        for left in multiprocessing.active_children():
            left.kill()


async def test_no_more_are_started_once_it_stops(zart_database: str) -> None:
    async with supervising(zart_database, 3) as supervisor:
        await until(supervisor.metrics)
        supervisor.stop()
    assert list(supervisor.metrics()) == [0]


async def test_what_ends_before_all_serve_is_told(
    zart_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"database_url": zart_database, "listen": "127.0.0.1:0", "drain_notice": 0.0}
    supervisor = Supervisor(Settings.load(processes=2, **given))
    at_work = asyncio.create_task(supervisor.run())
    await until(supervisor.metrics)
    for child in multiprocessing.active_children():
        child.kill()

    assert await asyncio.wait_for(at_work, GIVE_UP) == 1
    assert "process 0 ended with -9 before all of them served" in caplog.text


async def test_none_is_replaced_as_it_stops(
    zart_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "zart_server.supervisor"):
        async with supervising(zart_database, 1) as supervisor:
            await until(lambda: "processes serve on" in caplog.text)
            (child,) = multiprocessing.active_children()
            child.kill()
            await until(lambda: "is replaced" in caplog.text)
            over = time.monotonic() + 1.5
            block_until(lambda: time.monotonic() > over)  # so that the pause is over in the moment
            asyncio.get_running_loop().call_soon(supervisor.stop)  # in which this is heard
        assert multiprocessing.active_children() == []
