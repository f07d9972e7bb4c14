"""Brings the schema to the version that this code speaks; several servers may do so at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from zart_server.domain.errors import StoreConflict
from zart_server.store.connecting import Connector
from zart_server.store.driver_errors import translate
from zart_server.store.schema import is_newest
from zart_server.store.sessions import Session

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")
_log = logging.getLogger(__name__)
# Any number that no other program is likely to lock in the same database.
_MIGRATION_LOCK = 0x7A61_7274_0001
# It takes the time that it takes. Who waits for a table's lock holds up all who come after, the
# servers that run: so it waits a moment, and begins anew after another one. An autovacuum steps
# aside for who has waited for deadlock_timeout; longer than 3 s nobody is to stand still.
_LOCK_WAIT = text(
    """
    SELECT set_config('lock_timeout', LEAST(setting::bigint + 500, 2500)::text, true)
    FROM pg_settings WHERE name = 'deadlock_timeout'
    """
)
_GAP = 1.0  # seconds, more or less
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
                ELSE a.xact_start < now() - interval '1 second'
            END
    ) h
    ORDER BY xact_start NULLS LAST, pid LIMIT 3
    """
)
_SESSION = Session(
    "migrate", has_plans=False, statement_timeout=0, lock_timeout=0, idle_in_transaction=10.0
)


async def migrate(url: str) -> None:
    """Upgrade the database at ``url`` to the newest schema; a no-op when it is there.

    A transaction for each version of the schema, but for a new one, so that no lock is held while a
    later one waits or builds an index; each under an advisory lock: replicas that start at once
    take turns. A crash leaves the last version that was whole, and whoever comes next goes on from
    there. Where others
    have used a table for long, or a deadlock comes of it, the version is begun anew until they have
    ended; the log names them.

    Raises OSError or a driver error without a database, SessionRefused where its sessions are not
    what they must be, ``schema.SchemaOutdated`` where a newer version has changed it already.
    """
    told: list[str] | None = None
    while True:
        try:
            await _upgrade_to_newest(url)
        except Exception as error:
            if not isinstance(translate(error), StoreConflict):
                raise
        else:
            return
        if not told:
            told = _tell(await _run(url, _holders), is_first=told is None)
        await asyncio.sleep(_GAP * random.uniform(0.5, 1.5))  # noqa: S311 - no secret


def _tell(holders: list[str], *, is_first: bool) -> list[str]:
    """Say once that it waits, also where nobody is seen for whom it does; return those told of."""
    waits = "the schema waits for locks of others"
    if holders:
        _log.warning("%s: it is changed once these have ended: %s", waits, ", ".join(holders))
    elif is_first:
        _log.warning("%s, and is tried again: they are not to be seen", waits)
    return holders


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[AsyncConnection]:
    connector = Connector(url, _SESSION)
    engine = create_async_engine(
        "postgresql+asyncpg://", poolclass=NullPool, async_creator=connector.connect
    )
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


async def _run(url: str, work: Callable[[Connection], T]) -> T:
    async with _connected(url) as connection, connection.begin():
        return await connection.run_sync(work)


async def _upgrade_to_newest(url: str) -> None:
    async with _connected(url) as connection:
        is_newest = False
        while not is_newest:
            async with connection.begin():
                is_newest = await connection.run_sync(_upgrade)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def _upgrade(connection: Connection) -> bool:
    """Make the schema newer by one version; return True where there is none left to be made.

    Another one may have done so since this one last looked: it looks again under the lock.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
    # IF NOT EXISTS would ask for the right to make one also where it is there.
    if connection.execute(text("SELECT to_regnamespace('zart') IS NULL")).scalar():
        connection.execute(text("CREATE SCHEMA zart"))
    found = MigrationContext.configure(
        connection, opts={"version_table_schema": "zart"}
    ).get_current_revision()
    if is_newest(found):
        return True
    connection.execute(_LOCK_WAIT)
    config = _config()
    config.attributes["connection"] = connection
    # What is new nobody uses yet. Alembic reads all of its scripts each time.
    command.upgrade(config, "head" if found is None else "+1")
    return False


def _holders(connection: Connection) -> list[str]:
    """Name whose transactions have used our tables for longer than a moment, as far as is told."""
    return list(connection.execute(_HOLDERS).scalars())
