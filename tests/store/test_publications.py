"""A publication of all tables, as who captures changes makes one, keeps nothing from being written."""

from __future__ import annotations

from pathlib import Path

import asyncpg
from regrouping import begin_with_the_first, die, group, turn
from rig import Rig

import zart
from zart.testing.server import serving
from zart_server.domain.fingerprint import NEWEST
from zart_server.embedded import postgres


async def test_each_table_has_a_key(db: asyncpg.Connection[asyncpg.Record]) -> None:
    """Without one a row cannot be told to who subscribes, and PostgreSQL refuses to change it."""
    keyless = await db.fetch(
        "SELECT relname FROM pg_class c WHERE relnamespace = 'zart'::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT EXISTS ("
        " SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)"
    )
    assert [row["relname"] for row in keyless] == []


async def test_errors_are_regrouped_where_all_tables_are_published(tmp_path: Path) -> None:
    """The publication is there before the schema: each migration is made beside it, too."""
    with postgres.running(tmp_path / "pg", durable=False, attributes=["SUPERUSER"]) as own:
        db = await asyncpg.connect(own.url)
        await db.execute("CREATE PUBLICATION everything FOR ALL TABLES")
        with serving(own.url) as server:
            async with zart.connect(server.address) as client:
                rig = Rig(client, db)
                await begin_with_the_first(rig, server)
                await die(rig, "x", "A")
                while await db.fetchval("SELECT version FROM zart.fingerprint_version") < NEWEST:
                    await turn(server)
                found = [each.error_group_id async for each in client.list_error_groups()]
                assert found == [group("A", NEWEST)]
        await db.close()
