"""Which schema a database has: a look that needs nothing of what changes one.

Most servers begin on a schema that is the newest. They load no Alembic, and take no lock for it.
"""

from __future__ import annotations

import functools
from pathlib import Path

from zart_server.store.sessions import DriverConnection

_VERSIONS = Path(__file__).parent / "migrations" / "versions"


class SchemaOutdated(Exception):
    """The database's schema is not the one this code speaks: an older one, or a newer."""


@functools.cache
def known_versions() -> tuple[str, ...]:
    """Return the versions of the schema that this code knows, by their files, the newest last."""
    return tuple(sorted(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*_*.py")))


async def schema_of(connection: DriverConnection) -> str | None:
    """Return which version of the schema a database has; None: none."""
    if await connection.fetchval("SELECT to_regclass('zart.alembic_version') IS NULL"):
        return None
    version: str | None = await connection.fetchval("SELECT version_num FROM zart.alembic_version")
    return version


def is_newest(version: str | None) -> bool:
    """Return whether a schema is the one this code speaks; SchemaOutdated for a newer one."""
    known = known_versions()
    if version is not None and version not in known:
        raise SchemaOutdated(
            f"the database has schema {version}, which a newer version made: this one knows"
            f" {known[-1]} at most, so install that version here, too"
        )
    return version == known[-1]


async def refuse_older(connection: DriverConnection) -> None:
    """Look at the schema; SchemaOutdated where it is older than this code needs, or there is none.

    As after a failover to a standby that had not got its last versions yet. A newer one passes:
    servers that run go on with it.
    """
    version = await schema_of(connection)
    if version is None or version in known_versions()[:-1]:
        raise SchemaOutdated(f"{_outdated(version)}: run `zart migrate`")


def why_outdated(version: str | None) -> SchemaOutdated:
    """Return what a server says that is not to change an older schema."""
    return SchemaOutdated(
        f"{_outdated(version)}: run `zart migrate`, or start without --no-migrate"
    )


def _outdated(version: str | None) -> str:
    return f"the database has schema {version or 'none'}, this server needs {known_versions()[-1]}"
