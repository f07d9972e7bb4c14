"""By which version of the fingerprint errors are grouped, and whether all servers know another.

A server says in the names of its sessions up to which version it knows (``store.sessions``). One
that says nothing is of a release that knew the first only.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import asyncpg

from zart_server.store.connection import Connection


class GroupingVersion(NamedTuple):
    """The version that is in use, and for how long it has been by now."""

    number: int
    used_for: timedelta


async def read_version(connection: asyncpg.Connection[asyncpg.Record]) -> int:
    """Return the version that is in use; for a connection that has only been made."""
    number: int = await connection.fetchval("SELECT version FROM zart.fingerprint_version")
    return number


_LONG = "interval '1000 days'"


async def find_version(connection: Connection) -> GroupingVersion:
    """Return the version that is in use, and for how long it has been (at most 1,000 days)."""
    (row,) = await connection.fetch(
        "SELECT version, statement_timestamp() - GREATEST(since, statement_timestamp()"
        f" - {_LONG}) FROM zart.fingerprint_version"
    )
    return GroupingVersion(*row)


_ALL_KNOW = """
    NOT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'zart-%'
          AND COALESCE(substring(application_name FROM ' fp([0-9]+)$')::integer, 1) < $1)
"""


async def do_all_know(connection: Connection, version: int) -> bool:
    """Return whether no server is connected to the database that does not know a version."""
    return bool(await connection.fetchval(f"SELECT {_ALL_KNOW}", version))


async def use_version(connection: Connection, version: int) -> bool:
    """Have deaths be told by a version from now on if all servers know it; return whether so."""
    await connection.execute(
        "UPDATE zart.fingerprint_version SET version = $1, since = statement_timestamp()"
        f" WHERE version < $1 AND {_ALL_KNOW}",
        version,
    )
    return (await find_version(connection)).number >= version
