"""Connections know what another was told of PostgreSQL's own types, and of no others."""

from __future__ import annotations

import asyncpg

from zart_server.store.connecting import Connector
from zart_server.store.known_types import KnowingConnection
from zart_server.store.sessions import Session

_ASKED = (
    "SELECT count(*) FROM pg_prepared_statements"
    " WHERE ltrim(statement, E' \\n') LIKE 'WITH RECURSIVE typeinfo_tree%'"
)
_LISTS = "SELECT $1::bigint[], $2::text[], $3::interval[], $4::timestamptz[], $5::float8[]"


async def test_lists_are_asked_about_once_for_all_connections(zart_database: str) -> None:
    connector = Connector(zart_database, Session("test"))
    lists: tuple[list[object], ...] = ([1, 2], ["a"], [], [], [0.5])
    for number in range(3):
        connection = await connector.connect()
        try:
            assert list(await connection.fetchrow(_LISTS, *lists) or ()) == [*lists]
            if number:
                assert await connection.fetchval(_ASKED) == 0
        finally:
            connection.terminate()

    plain = await asyncpg.connect(zart_database)  # else the law says nothing
    await plain.fetchrow(_LISTS, *lists)
    assert await plain.fetchval(_ASKED) == 1
    await plain.close()


async def test_types_of_a_database_are_its_own(zart_database: str) -> None:
    """Another database may have another type of the same number."""
    connector = Connector(zart_database, Session("test"))
    connection = await connector.connect()
    try:
        await connection.execute("CREATE TYPE zart.pair AS (one integer, two text)")
        assert await connection.fetchval("SELECT (7, 'x')::zart.pair") == (7, "x")
        await connection.execute(
            "DROP TYPE zart.pair; CREATE TYPE zart.pair AS (one text, two integer, three bigint[])"
        )
        assert await connection.fetchval("SELECT ('x', 7, '{1}')::zart.pair") == ("x", 7, [1])
    finally:
        connection.terminate()
    assert all(oid < 16_384 for oids in KnowingConnection._told for oid in oids)
