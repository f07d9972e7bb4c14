"""The supervisor of several processes, as it stops: it leaves none that nobody would stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import multiprocessing
import os
import time
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from typing import Any

import pytest
from waiting import GIVE_UP, block_until, until

from zart_server.child import _SPAWN, Child
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


async def test_what_cannot_be_started_at_first_ends_all(
    zart_database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"database_url": zart_database, "listen": "127.0.0.1:0", "drain_notice": 0.0}
    supervisor = Supervisor(Settings.load(processes=2, **given))
    at_work = asyncio.create_task(supervisor.run())
    await until(supervisor.metrics)
    make = _SPAWN.Pipe
    ends: list[Connection[Any, Any]] = []

    def pipe() -> tuple[Connection[Any, Any], Connection[Any, Any]]:
        made = make()
        ends.extend(made)
        return made

    def refuse() -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(_SPAWN, "Pipe", pipe)
    monkeypatch.setattr("zart_server.child.resource_tracker.ensure_running", refuse)
    assert await asyncio.wait_for(at_work, GIVE_UP) == 1
    assert "process 1 cannot be started (Resource temporarily unavailable)" in caplog.text
    await until(lambda: multiprocessing.active_children() == [])
    assert [end.closed for end in ends] == [True, True]


async def test_whatever_is_raised_ends_all(
    zart_database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Defect(Exception):
        pass

    def fail(*_: object) -> Child:
        raise Defect

    given = {"database_url": zart_database, "listen": "127.0.0.1:0", "drain_notice": 0.0}
    supervisor = Supervisor(Settings.load(processes=2, **given))
    with caplog.at_level("INFO", "zart_server.supervisor"):
        at_work = asyncio.create_task(supervisor.run())
        await until(lambda: "processes serve on" in caplog.text)
    monkeypatch.setattr("zart_server.supervisor.start_child", fail)
    multiprocessing.active_children()[0].kill()
    with pytest.raises(ExceptionGroup) as raised:
        await asyncio.wait_for(at_work, GIVE_UP)
    assert isinstance(raised.value.exceptions[0], Defect)
    await until(lambda: multiprocessing.active_children() == [])


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
