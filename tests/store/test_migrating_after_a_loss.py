"""A migration whose connection is ended begins the version anew; where that is in vain it says why."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import asyncpg
import pytest
from ports import free_port
from sqlalchemy import text
from store.test_migrating_in_use import _STEP_BACK as STEP_BACK
from store.test_migrating_in_use import _VERSION as VERSION
from waiting import GIVE_UP

from zart_server.store import losses
from zart_server.store import migrate as migrating
from zart_server.store.driver_errors import cause_of
from zart_server.store.migrate import migrate

if TYPE_CHECKING:
    from sqlalchemy import Connection

_END_MINE = text("SELECT pg_terminate_backend(pg_backend_pid())")
_ENDED = "the database has ended the connection"


def end(monkeypatch: pytest.MonkeyPatch, ends: Callable[[int], bool]) -> None:
    """End the connection within the tries, counted from 1, that it ``ends`` in."""
    upgrade, tries_made = migrating._upgrade, 0

    def ended(connection: Connection, *, tries: bool) -> bool:
        nonlocal tries_made
        tries_made += 1
        if ends(tries_made):
            connection.execute(_END_MINE)
        return upgrade(connection, tries=tries)

    monkeypatch.setattr(migrating, "_upgrade", ended)


async def test_a_version_whose_connection_was_ended_is_begun_anew(
    zart_database: str,
    db: asyncpg.Connection[asyncpg.Record],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, losses.__name__)
    newest = await db.fetchval(VERSION)
    await db.execute(STEP_BACK)
    end(monkeypatch, lambda number: number in (1, 3))
    await asyncio.wait_for(migrate(zart_database), GIVE_UP)
    assert await db.fetchval(VERSION) == newest
    assert f"anew: {_ENDED}" in caplog.text


async def test_one_whose_connection_is_ended_each_time_is_given_up_and_says_so(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "_AWAY", 0.5)
    await db.execute(STEP_BACK)
    end(monkeypatch, lambda _: True)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whichever the driver has for it
        await asyncio.wait_for(migrate(zart_database), GIVE_UP)
    assert cause_of(raised.value) == _ENDED


async def test_where_it_is_ended_each_time_once_all_is_made_that_is_given_up_too(
    zart_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "_AWAY", 0.5)
    monkeypatch.setattr(migrating, "REACH", str(_END_MINE))
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whichever the driver has for it
        await asyncio.wait_for(migrate(zart_database), GIVE_UP)
    assert cause_of(raised.value) == _ENDED


async def test_where_there_never_was_a_database_it_says_so_at_once() -> None:
    url = f"postgresql://zart@127.0.0.1:{free_port()}/zart"
    with pytest.raises(OSError):  # noqa: PT011 - of any kind
        await migrate(url)


def test_a_connection_that_was_closed_is_no_matter_of_the_url() -> None:
    closed = asyncpg.InterfaceError("cannot call Transaction.rollback(): … connection is closed")
    unknown = asyncpg.InterfaceError("unsupported authentication method requested by the server")
    wrong = asyncpg.exceptions.ClientConfigurationError("no such option")
    assert cause_of(closed) == _ENDED
    assert "authentication" in cause_of(unknown)
    assert cause_of(wrong) == "the database cannot be used (ClientConfigurationError)"
