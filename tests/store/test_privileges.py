"""What was made for operators to read is read by whom they let in, and written by nobody."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from rig import CHAIN, Rig
from server.test_older_schema import upgrade_to

import zart
from zart.testing.fixtures import database_url, execute
from zart.testing.server import serving
from zart_server.embedded import postgres
from zart_server.store.migrate import migrate

PAGE = (Path(__file__).parents[2] / "docs/security.md").read_text()
GRANTS = re.findall(r"^(?:GRANT|REVOKE) [^;]*;", PAGE, re.MULTILINE)
_numbers = itertools.count(1)
# As for the roles of an application whose tables are in the same database.
LETS_IN = """
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO PUBLIC, "read er";
    ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO reader WITH GRANT OPTION;
    ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO reader;
    ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO reader;
    ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO reader;
"""
# Functions may be called by all who may use their schema: that is PostgreSQL's own default.
_OTHERS = """
    SELECT name, a.grantee::regrole::text AS grantee, a.privilege_type AS may FROM (
        SELECT relname AS name, relacl AS acl, relowner AS owner, relnamespace AS schema,
            relkind = 'v' AS is_view FROM pg_class WHERE relkind IN ('r', 'v', 'S')
        UNION ALL SELECT proname, proacl, proowner, pronamespace, false FROM pg_proc
        UNION ALL SELECT nspname, nspacl, nspowner, oid, false FROM pg_namespace
        WHERE nspname = 'zart'
    ) t, aclexplode(acl) a
    WHERE a.grantee <> owner AND (schema = 'zart'::regnamespace
            OR schema = 'public'::regnamespace AND is_view AND name LIKE 'zart\\_%')
        AND NOT (a.grantee = 0 AND a.privilege_type = 'EXECUTE')
"""
_VIEWS = "SELECT viewname FROM pg_views WHERE schemaname = 'public'"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL in which there are other roles; the URL of its database."""
    may = ["CREATEDB", "CREATEROLE"]
    with postgres.running(tmp_path_factory.mktemp("own"), durable=False, attributes=may) as one:
        execute(one.url, "CREATE ROLE reader LOGIN PASSWORD 'reader'; CREATE ROLE \"read er\"")
        yield one.url


@pytest.fixture
def empty(own: str) -> str:
    """The URL of a database in it with nothing of ours."""
    name = f"d{next(_numbers)}"
    execute(own, f"CREATE DATABASE {name}")
    return database_url(own, name)


@asynccontextmanager
async def connected(url: str, role: str = "") -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Connect to a database, as another role perhaps, whose password is its name."""
    parsed = urlsplit(url)
    if role:
        host = f"{role}:{role}@{parsed.hostname}:{parsed.port}"
        url = urlunsplit(parsed._replace(netloc=host))
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def test_of_a_new_schema_others_have_nothing(empty: str) -> None:
    async with connected(empty) as db:
        await db.execute(LETS_IN)
        await db.execute("CREATE VIEW public.application AS SELECT 1 AS n")

        await migrate(empty)

        assert [tuple(row) for row in await db.fetch(_OTHERS)] == []
        # What is not ours is theirs as ever.
        assert await db.fetchval("SELECT has_table_privilege('read er', 'application', 'INSERT')")


async def test_on_a_schema_that_was_there_before_who_reads_goes_on(empty: str) -> None:
    async with connected(empty) as db:
        await db.execute(LETS_IN)
        await asyncio.to_thread(upgrade_to, empty, "0030")
        assert await db.fetchval("SELECT has_table_privilege('reader', 'zart_retention', 'INSERT')")

        await migrate(empty)

        views = {row[0] for row in await db.fetch(_VIEWS)}
        left = {(row["name"], row["may"]) for row in await db.fetch(_OTHERS) if row[0] in views}
        assert left == {(name, "SELECT") for name in views}
        for line in GRANTS:
            await db.execute(line)
        async with connected(empty, "reader") as reader:
            await reader.fetch("SELECT * FROM zart_steps")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await reader.execute("DELETE FROM zart.pause_rules")


async def test_no_view_can_be_written_through(db: asyncpg.Connection[asyncpg.Record]) -> None:
    """Whatever is granted on it: a view of one table alone could be, with its owner's rights."""
    views = await db.fetch(
        "SELECT relname, pg_relation_is_updatable(oid, true) AS ways FROM pg_class"
        " WHERE relkind = 'v' AND relnamespace IN ('zart'::regnamespace, 'public'::regnamespace)"
    )
    assert len(views) > 15
    assert {row["relname"] for row in views if row["ways"]} == set()


async def test_what_keeps_views_from_being_written_costs_nothing(
    db: asyncpg.Connection[asyncpg.Record],
) -> None:
    plan = await db.fetch("EXPLAIN SELECT kind FROM zart_operations WHERE operation_id = 7")

    assert "Join" not in str(plan)
    assert "Nested" not in str(plan)
    assert "Index Cond: (operation_key = 7)" in str(plan)


async def test_a_reader_has_what_the_page_grants_and_nothing_else(empty: str) -> None:
    with serving(empty) as server:
        async with connected(empty) as db, zart.connect(server.address) as client:
            rig = Rig(client, db)
            await rig.start("x", CHAIN)
            await rig.start("y", CHAIN)
            paused = await client.pause(task_name="t")
            await client.update_pause_rule(paused.rule.rule_id, exempt=["x"])
            await rig.lease_one("a")
            for line in GRANTS:
                await db.execute(line)
            views = sorted(row[0] for row in await db.fetch(_VIEWS))

            async with connected(empty, "reader") as reader:
                for name in views:
                    await reader.fetch(f"SELECT * FROM {name}")
                told = await reader.fetch("SELECT execution_id, status FROM zart_steps")
                assert {("x", "running"), ("y", "paused")} <= {tuple(row) for row in told}
                for statement in (
                    "INSERT INTO zart_retention (task_name) VALUES ('t')",
                    "SELECT * FROM zart.runs",
                    "DELETE FROM zart.pause_rules",
                ):
                    with pytest.raises(
                        (
                            asyncpg.InsufficientPrivilegeError,
                            asyncpg.ObjectNotInPrerequisiteStateError,
                        )
                    ):
                        await reader.execute(statement)
    assert set(re.findall(r"public\.(\w+)", "".join(GRANTS))) == set(views)
