"""What a session has prepared may have other columns after a migration by another server."""

from __future__ import annotations

import asyncpg
import pytest
from patient import patient_database

from zart_server.domain.errors import StoreConflict

_READ = "SELECT * FROM public.changing"


async def test_a_statement_that_reads_more_by_now_is_tried_again(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    await db.execute("CREATE TABLE public.changing (a int)")
    store = await patient_database(zart_database, pool_size=1)
    try:
        async with store.transaction() as tx:
            await tx.fetch(_READ)
        await db.execute("ALTER TABLE public.changing ADD COLUMN b int")
        with pytest.raises(StoreConflict):
            async with store.transaction() as tx:
                await tx.fetch(_READ)
        async with store.transaction() as tx:
            await tx.fetch(_READ)
    finally:
        await store.close()
