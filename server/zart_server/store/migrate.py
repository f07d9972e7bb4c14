"""Brings the schema to the version that this code speaks; several servers may do so at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from zart_server.domain.errors import StoreConflict
from zart_server.store.connecting import Connector
from zart_server.store.driver_errors import translate
from zart_server.store.followed_url import Url
from zart_server.store.losses import Losses
from zart_server.store.privileges import keep_all, keep_from_writing
from zart_server.store.schema import is_newest
from zart_server.store.sessions import DriverConnection, Session
from zart_server.store.standby import REACH

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

_log = logging.getLogger(__name__)
# Any number that no other program is likely to lock in the same database.
_MIGRATION_LOCK = 0x7A61_7274_0001
# Several take turns. Who waits for its turn asks again each second: one statement that waits would
# keep dead rows from being removed for as long. No version's commit waits for a standby, which may
# not answer: PostgreSQL would keep the locks of its tables until then.
_BEGIN = text(
    """
    SELECT set_config('synchronous_commit', 'local', true),
        pg_try_advisory_xact_lock(:lock) AS is_ours
    """
)
_OTHER = text(
    """
    SELECT l.pid,
        format('%s (pid %s)', COALESCE(NULLIF(a.application_name, ''), 'a session'), l.pid) AS name
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
        AND (l.classid::bigint << 32 | l.objid::bigint) = :lock
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
)
# It takes the time that it takes. Who waits for a table's lock holds up all who come after, the
# servers that run: so it waits a moment, and begins anew once nobody is seen any more for whom it
# does. An autovacuum steps aside for who has waited for deadlock_timeout; longer than 3 s nobody is
# to stand still.
_LOCK_WAIT = text(
    """
    SELECT set_config('lock_timeout', LEAST(setting::bigint + 500, 2500)::text, true)
    FROM pg_settings WHERE name = 'deadlock_timeout'
    """
)
_EVERY = 1.0  # seconds between two looks at who is there
# Whoever is seen may have what this version does not need.
_AT_LATEST = 60.0  # seconds between two tries
_SELDOM = 5.0  # likewise, where nobody is seen for whom to wait
_SOON = 5.0  # seconds without an answer of the standby: that is told
# What a script does, of a migrator that was killed, would go on to its end with its locks.
_CHECK_CLIENT = "SET client_connection_check_interval = '5s'"
# What is known of sessions stays as it was within a transaction, unless somebody asks for it anew.
_LOOK_ANEW = text("SELECT pg_stat_clear_snapshot()")
# Of another role's session, and of an autovacuum, nobody tells us since when it is at work, unless
# we are of pg_read_all_stats. A prepared transaction has no session at all.
_HOLDERS = text(
    """
    SELECT CASE WHEN pid IS NULL THEN name
        ELSE format('%s (%s)', name, concat_ws(', ', 'pid ' || pid, 'since ' || xact_start)) END
    FROM (
        SELECT DISTINCT l.pid, a.xact_start, CASE
            WHEN l.pid IS NULL THEN 'a prepared transaction (see pg_prepared_xacts)'
            ELSE COALESCE(NULLIF(a.application_name, ''), a.usename::text, a.backend_type,
                'a session') END AS name
        FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
        LEFT JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE c.relnamespace = to_regnamespace('zart') AND l.granted
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND l.pid IS DISTINCT FROM pg_backend_pid()
            AND CASE WHEN l.pid IS NULL THEN true
                WHEN a.pid IS NULL THEN false  -- it has ended meanwhile
                WHEN a.xact_start IS NULL THEN a.state IS DISTINCT FROM 'idle'
                ELSE a.xact_start < statement_timestamp() - interval '1 second'
            END
    ) h
    ORDER BY xact_start NULLS LAST, pid LIMIT 3
    """
)
_IDLE = 10.0  # seconds; one that hangs leaves the turn to others
_SESSION = Session(
    "migrate", has_plans=False, statement_timeout=0, lock_timeout=0, idle_in_transaction=_IDLE
)


async def migrate(url: Url) -> None:
    """Upgrade the database at ``url`` to the newest schema; a no-op when it is there.

    A transaction for each version of the schema, but for a new one, so that no lock is held while a
    later one waits or builds an index; each under an advisory lock: replicas that start at once
    take turns. A crash leaves the last version that was whole, and whoever comes next goes on from
    there. Where others have used a table for long, or a deadlock comes of it, the version is begun
    anew once they have ended; the log names them. Likewise where its connection is lost: a failover
    takes seconds. It returns once the synchronous standby has all of it, too, and holds no lock
    while it waits for that.

    Raises OSError or a driver error without a database, SessionRefused where its sessions are not
    what they must be, ``schema.SchemaOutdated`` where a newer version has changed it already.
    """
    waiting, losses = _Waiting(), Losses()
    while True:
        try:
            await _upgrade_to_newest(url, waiting, losses)
        except Exception as error:
            if not (_is_refused(error) or losses.can_be_borne(error)):
                raise
        else:
            return
        await asyncio.sleep(_EVERY)  # its connection was ended


def _is_refused(error: BaseException) -> bool:
    return isinstance(error, StoreConflict) or isinstance(translate(error), StoreConflict)


class _Waiting:
    """Waits for others, and says once for whom."""

    def __init__(self) -> None:
        self._turns_of: set[int] = set()  # who was told of
        self._told: list[str] | None = None
        self._gap = _EVERY

    async def for_turn(self, connection: AsyncConnection) -> bool:
        """Begin the transaction with the turn, which it has until its end.

        Return False where others are seen for whom a version would have to wait, as who had the
        turn before has found out: a try would hold up who comes after once more.
        """
        lock = {"lock": _MIGRATION_LOCK}
        if (await connection.execute(_BEGIN, lock)).one().is_ours:
            return True
        other = (await connection.execute(_OTHER, lock)).first()
        if other is not None and other.pid not in self._turns_of:
            self._turns_of.add(other.pid)
            _log.warning("another one migrates, %s: this one waits for its turn", other.name)
        while not (await connection.execute(_BEGIN, lock)).one().is_ours:  # noqa: ASYNC110 - another session's lock
            await asyncio.sleep(_EVERY)
        return not await self._look(connection)

    async def for_holders(self, connection: AsyncConnection) -> None:
        """Wait until nobody is seen who keeps a version from being made, or for a minute at most.

        It has no lock meanwhile, no turn, and no transaction but for each look. Where nobody is
        seen at all, it waits for longer each time.
        """
        loop = asyncio.get_running_loop()
        latest = loop.time() + _AT_LATEST
        gap, is_first = _EVERY, True
        while True:
            async with connection.begin():
                holders = await self._look(connection)
            if is_first and not holders:
                gap, self._gap = self._gap, min(2 * self._gap, _SELDOM)
            elif not holders or loop.time() >= latest:
                return
            is_first = False
            await asyncio.sleep(gap)
            gap = _EVERY

    async def _look(self, connection: AsyncConnection) -> list[str]:
        """Name whose transactions have used our tables for longer than a moment; tell of them once.

        As far as PostgreSQL tells.
        """
        await connection.execute(_LOOK_ANEW)
        holders = list((await connection.execute(_HOLDERS)).scalars())
        waits = "the schema waits for locks of others"
        if holders and not self._told:
            _log.warning("%s: it is changed once these have ended: %s", waits, ", ".join(holders))
            self._told = holders
        elif self._told is None:
            _log.warning("%s, and is tried again: they are not to be seen", waits)
            self._told = []
        return holders


@contextlib.asynccontextmanager
async def _connected(url: Url) -> AsyncIterator[AsyncConnection]:
    connector = Connector(url, _SESSION)

    async def connect() -> DriverConnection:
        connection = await connector.connect()
        # Not on each system that PostgreSQL runs on.
        with contextlib.suppress(asyncpg.InvalidParameterValueError):
            await connection.execute(_CHECK_CLIENT)
        return connection

    engine = create_async_engine("postgresql+asyncpg://", poolclass=NullPool, async_creator=connect)
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


async def _upgrade_to_newest(url: Url, waiting: _Waiting, losses: Losses) -> None:
    async with _connected(url) as connection:
        losses.connected()
        is_newest = False
        while not is_newest:
            try:
                async with connection.begin():
                    tries = await waiting.for_turn(connection)
                    is_newest = await connection.run_sync(_upgrade, tries=tries)
                if not is_newest:
                    losses.made()
            except Exception as error:
                if not _is_refused(error):
                    raise
                await waiting.for_holders(connection)
        telling = asyncio.get_running_loop().call_later(
            _SOON,
            _log.warning,
            "the schema is the newest; the synchronous standby does not say yet that it has it",
        )
        try:
            async with connection.begin():
                await connection.execute(text(REACH))
        finally:
            telling.cancel()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def _upgrade(connection: Connection, *, tries: bool) -> bool:
    """Make the schema newer by one version; return True where there is none left to be made.

    Another one may have done so since this one last looked: it looks again once it has its turn.
    Raises StoreConflict if there is one left, and it is not to try.
    """
    # IF NOT EXISTS would ask for the right to make one also where it is there.
    makes_schema = bool(connection.execute(text("SELECT to_regnamespace('zart') IS NULL")).scalar())
    if makes_schema:
        connection.execute(text("CREATE SCHEMA zart"))
    found = MigrationContext.configure(
        connection, opts={"version_table_schema": "zart"}
    ).get_current_revision()
    if is_newest(found):
        return True
    if not tries:
        raise StoreConflict
    connection.execute(_LOCK_WAIT)
    config = _config()
    config.attributes["connection"] = connection
    # What is new nobody uses yet. Alembic reads all of its scripts each time.
    command.upgrade(config, "head" if found is None else "+1")
    if found is None:
        keep_all(connection, is_schema_ours=makes_schema)
    else:
        keep_from_writing(connection)
    return False
