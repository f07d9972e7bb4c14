"""What tests of retention do: make what is there old, and have a server go through it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg

from zart.testing.server import ServerUnderTest


async def sweep(server: ServerUnderTest) -> None:
    """Have the server go through what has ended, once more and now."""

    async def go() -> None:
        retention = server.running.runtime.retention
        await retention.stop()  # what it does by itself would be in the way
        async with retention._db.transaction() as tx:
            await tx.execute("UPDATE zart.retention_passes SET taken_until = '-infinity'")
        await retention.turn()

    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(go(), server.loop))


async def make_old(db: asyncpg.Connection[asyncpg.Record], *, days: int = 40) -> None:
    """Have all that is there begun, and ended, so many days ago."""
    async with db.transaction():
        await db.execute("SET LOCAL zart.purge = 'on'")
        ago = timedelta(days=days)
        await db.execute(
            "UPDATE zart.runs SET listed_at = listed_at - $1::interval, created_at = created_at"
            " - $1::interval, completed_at = completed_at - $1::interval",
            ago,
        )
        await db.execute("UPDATE zart.executions SET created_at = created_at - $1::interval", ago)


async def left(db: asyncpg.Connection[asyncpg.Record]) -> list[str]:
    """Return the executions that are there."""
    rows = await db.fetch("SELECT execution_id FROM zart.executions ORDER BY execution_id")
    return [row[0] for row in rows]
