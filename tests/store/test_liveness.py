"""What is ended because it hangs, and what is not because it works or the database is only full."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from waiting import eventually, until

from zart_server.domain.errors import StoreUnavailable
from zart_server.embedded.postgres import running
from zart_server.store.connecting import Connector
from zart_server.store.db import Database
from zart_server.store.driver_errors import translate
from zart_server.store.history import join_history
from zart_server.store.liveness import _DOWN, _WAITS, Liveness, Terminable
from zart_server.store.sessions import DriverConnection, Session

LARGE = "SELECT repeat('x', 1000000) FROM generate_series(1, 200)"  # more than a socket holds
EARLIER = datetime(2001, 1, 1, tzinfo=UTC)


class Watched:
    """A pool of connections, as the watch over them sees it, with one in use for long."""

    def __init__(self) -> None:
        self.looks = 0
        self.is_terminated = False

    def waiting(self, _seconds: float) -> Mapping[int, Terminable]:
        """Return the one in use."""
        self.looks += 1
        return {0: self}

    def terminate(self) -> None:
        """Note that it was ended."""
        self.is_terminated = True


async def lost() -> None:
    """Be told that all connections are lost."""


@pytest.fixture
async def liveness(zart_database: str) -> AsyncIterator[Liveness]:
    """A watch that looks when it is told to."""
    made = Liveness(zart_database, Watched().waiting, lost)
    yield made
    await made.stop()


@pytest.fixture
async def stuck(zart_database: str, db: DriverConnection) -> AsyncIterator[int]:
    """A session of ours, in a transaction, that sends what nobody reads, for more than 2 s."""
    connection = await Connector(zart_database, Session("stuck", statement_timeout=0)).connect()
    pid: int = connection.get_server_pid()
    await connection.execute("BEGIN")
    inside: Any = connection
    inside._transport.pause_reading()
    reading = asyncio.create_task(connection.fetch(LARGE))

    async def is_stuck() -> bool:
        found: bool = await db.fetchval(
            "SELECT wait_event_type = 'Client' AND state = 'active'"
            " AND state_change < clock_timestamp() - interval '2.1 s'"
            " FROM pg_stat_activity WHERE pid = $1",
            pid,
        )
        return found

    await eventually(is_stuck)
    yield pid
    connection.terminate()
    await asyncio.gather(reading, return_exceptions=True)


async def is_there(db: DriverConnection, pid: int) -> bool:
    """Whether a session goes on."""
    found: int = await db.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid)
    return found > 0


async def test_what_hangs_is_ended_by_the_second_look_within_one_statement(
    liveness: Liveness, zart_database: str, db: DriverConnection, stuck: int
) -> None:
    looking = await Connector(zart_database, Session("watch")).connect()
    try:
        # It counts as at work the first time it is seen so: that is no proof yet.
        assert stuck in await liveness._at_work(looking, [stuck])
        assert await is_there(db, stuck)

        # A look before was within another statement: it worked in between.
        liveness._stuck = {stuck: EARLIER}
        assert stuck in await liveness._at_work(looking, [stuck])
        assert await is_there(db, stuck)

        assert stuck not in await liveness._at_work(looking, [stuck])

        async def is_gone() -> bool:
            return not await is_there(db, stuck)

        await eventually(is_gone)
    finally:
        looking.terminate()


async def test_a_database_that_has_no_connection_left_is_there_for_those_who_have_one(
    zart_database: str, db: DriverConnection
) -> None:
    watched, told = Watched(), []
    name = urlsplit(zart_database).path[1:]
    await db.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
    liveness = Liveness(zart_database, watched.waiting, lost)
    liveness.start()
    try:
        # Four a second while it does not answer: longer than it may be out of reach.
        await until(lambda: watched.looks >= 20)
        told.append(liveness.is_up)
    finally:
        await liveness.stop()
    assert told == [False]
    assert not watched.is_terminated


async def test_a_database_that_is_out_of_reach_for_long_ends_who_waits(zart_database: str) -> None:
    """The measure of the test before: so many looks are enough."""
    watched = Watched()
    nobody = zart_database.replace(f":{urlsplit(zart_database).port}/", ":1/")
    liveness = Liveness(nobody, watched.waiting, lost)
    liveness.start()
    try:
        await until(lambda: watched.looks >= 20)
        assert watched.is_terminated
    finally:
        await liveness.stop()


async def test_a_watch_that_fails_to_end_who_waits_goes_on(zart_database: str) -> None:
    failures = []

    def waiting(seconds: float) -> Mapping[int, Terminable]:
        if seconds == _DOWN:
            failures.append(seconds)
            raise ZeroDivisionError  # a defect
        return {}

    nobody = zart_database.replace(f":{urlsplit(zart_database).port}/", ":1/")
    liveness = Liveness(nobody, waiting, lost)
    liveness.start()
    assert liveness._task is not None
    try:
        await until(lambda: len(failures) >= 2 or (liveness._task and liveness._task.done()))
        assert not liveness._task.done()
    finally:
        await liveness.stop()


async def test_a_connection_lost_while_its_holder_asks_nothing_is_no_loss_of_the_database(
    zart_database: str, db: DriverConnection
) -> None:
    """As that of a Pause between two requests for its lock; it was NOT_SERVING for a moment."""
    pool = await Database.open(zart_database)
    told: list[bool] = []
    looks: list[float] = []

    def waiting(seconds: float) -> Mapping[int, Terminable]:
        looks.append(time.monotonic())
        return pool._waiting(seconds)

    async def follow() -> None:
        async for is_up in watch.follow():
            told.append(is_up)

    watch = Liveness(zart_database, waiting, lost)
    watch.start()
    following = asyncio.create_task(follow())
    try:
        async with pool.autocommit() as held:
            taken = time.monotonic()
            pid = await held.fetchval("SELECT pg_backend_pid()")
            await db.execute("SELECT pg_terminate_backend($1)", pid)
            proxy: Any = held._raw
            await until(lambda: proxy._con is None)
            await until(lambda: sum(at > taken + _WAITS for at in looks) > 2 or False in told)
        assert told == [True]
    finally:
        following.cancel()
        await watch.stop()
        await pool.close()


@pytest.mark.parametrize("error", [asyncpg.InternalClientError, asyncpg.InterfaceError])
def test_what_the_driver_says_of_a_lost_connection_is_no_fault_of_ours(
    error: type[Exception],
) -> None:
    """Notifications log it as a loss, not as a failure with its traceback."""
    assert isinstance(translate(error("got result for unknown protocol state 3")), StoreUnavailable)


@pytest.fixture
async def without_wal(zart_database: str, db: DriverConnection) -> AsyncIterator[DriverConnection]:
    """A connection to a PostgreSQL that cannot be asked for its WAL, as some managed ones."""
    await db.execute("""
        CREATE SCHEMA managed;
        CREATE FUNCTION managed.pg_current_wal_lsn() RETURNS pg_lsn LANGUAGE plpgsql AS
        'BEGIN RAISE feature_not_supported; END'
    """)
    connection = await Connector(zart_database, Session("managed")).connect()
    await connection.execute("SET search_path = managed, pg_catalog")
    yield connection
    connection.terminate()


async def test_a_history_has_a_name_where_there_is_no_wal_to_be_asked_for(
    without_wal: DriverConnection, db: DriverConnection
) -> None:
    highest = "SELECT last_value FROM zart.lease_tokens"
    before = await db.fetchval(highest)
    name = await join_history(without_wal, is_first=True)
    drawn = await db.fetchval(highest)
    assert drawn > before
    assert name.startswith("-")  # of no timeline

    assert await join_history(without_wal, is_first=False) == name
    assert await db.fetchval(highest) == drawn

    async def of_wal() -> str:
        await without_wal.execute("SET search_path = pg_catalog")
        return await join_history(without_wal, is_first=False)

    timeline, _, rest = (await of_wal()).partition("-")
    assert timeline
    assert f"-{rest}" == name


@pytest.fixture(scope="module")
def with_roles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL in which roles can be made, which are of all its databases."""
    folder = tmp_path_factory.mktemp("roles")
    with running(folder, durable=False, attributes=["CREATEROLE"]) as own:
        yield own.url


async def test_what_is_not_to_be_seen_is_taken_to_be_at_work(with_roles: str) -> None:
    """As where ``ALTER ROLE … SET role`` makes sessions another role's than the one they are of."""
    watch = Liveness(with_roles, Watched().waiting, lost)
    looking = await Connector(with_roles, Session("watch")).connect()
    busy = await Connector(with_roles, Session("busy")).connect()
    pid = busy.get_server_pid()
    try:
        await looking.execute("CREATE ROLE other; GRANT other TO CURRENT_USER; SET ROLE other")
        assert await looking.fetchval(
            "SELECT state IS NULL FROM pg_stat_activity WHERE pid = $1", pid
        )
        assert await watch._at_work(looking, [pid]) == {pid}
        await busy.close()

        async def is_gone() -> bool:
            return await watch._at_work(looking, [pid]) == set()

        await eventually(is_gone)
    finally:
        busy.terminate()
        looking.terminate()
