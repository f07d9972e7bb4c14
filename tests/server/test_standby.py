"""A standby answers and takes no writes: no server begins there, nor says that it can serve."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from server.health import NOT_SERVING, SERVING, health
from server.replicated import Replicated, replicated
from store.test_liveness import Watched, lost
from waiting import eventually, until

import zart
from zart.testing.server import serving
from zart_server.app import StartError
from zart_server.store.connecting import Connector
from zart_server.store.liveness import Liveness
from zart_server.store.sessions import Session

SERVICE = "zart.v1.AdminService"
_SESSIONS = "SELECT sessions FROM pg_stat_database WHERE datname = 'zart'"
_ENOUGH = 8  # the watch makes four a second where it gets none that will do, and else only one


@pytest.fixture(scope="module")
def pair() -> Iterator[Replicated]:
    """Two PostgreSQL: a writes, b is its standby; both have the schema."""
    with replicated() as both:
        with serving(both.alone("a")):
            pass
        yield both


def test_a_server_does_not_start_there(pair: Replicated) -> None:
    """As in the chart, where another job has seen to the schema."""
    with (
        pytest.raises(StartError, match="the database is read-only: it is a standby"),
        serving(pair.alone("b"), migrate=False),
    ):
        pass


async def test_it_keeps_nobody_from_the_next_host(pair: Replicated) -> None:
    connection = await Connector(pair.alone("b", "a"), Session("test")).connect()
    try:
        assert await connection.fetchval("SELECT inet_server_port()") == pair.port("a")
    finally:
        await connection.close()


async def test_who_waits_for_a_primary_that_is_gone_is_ended_though_a_standby_answers(
    pair: Replicated,
) -> None:
    """Nobody has a session at the standby: its answer is no sign that theirs go on."""
    watched = Watched()
    liveness = Liveness(pair.alone("b"), watched.waiting, lost)
    liveness.start()
    try:
        await until(lambda: watched.looks >= 20)
        assert watched.is_terminated
    finally:
        await liveness.stop()


async def test_a_server_whose_database_becomes_one_says_so() -> None:
    with replicated() as own, serving(own.alone("a")) as server:
        async with zart.connect(server.address) as client:

            async def can_serve() -> bool:
                return bool(await health(client, SERVICE) == SERVING)

            await eventually(can_serve)
            await asyncio.to_thread(own.lose, "a")
            own.mark_as_replica("a")
            await asyncio.to_thread(own.start, "a")

            standby = await asyncpg.connect(own.superuser(own.port("a")))
            before = await standby.fetchval(_SESSIONS)

            async def has_tried() -> bool:
                return bool(await standby.fetchval(_SESSIONS) >= before + _ENOUGH)

            await eventually(has_tried)
            assert await health(client, SERVICE) == NOT_SERVING
            await standby.close()
