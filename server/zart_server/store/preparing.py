"""Brings a database to what a server needs, where it is not so already."""

from __future__ import annotations

from zart_server.store.connecting import checked_session
from zart_server.store.followed_url import Url
from zart_server.store.schema import is_newest, schema_of, why_outdated


async def prepare(url: Url, *, migrates: bool) -> None:
    """Look at the database's sessions and its schema; change an older schema if it ``migrates``.

    Raises SessionRefused where sessions are not what they must be, SchemaOutdated where the schema
    is another, and OSError or a driver error without a database.
    """
    async with checked_session(url) as session:
        version = await schema_of(session)
    if is_newest(version):
        return
    if not migrates:
        raise why_outdated(version)
    # Alembic takes a tenth of a second to load.
    from zart_server.store.migrate import migrate  # noqa: PLC0415 - where something is to change

    await migrate(url)
