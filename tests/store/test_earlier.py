"""What a batch waits for before it plans: servers' transactions that may write, and no others."""

from __future__ import annotations

from typing import Any, cast

import asyncpg
import pytest

from zart_server.store.batches.earlier import let_earlier_end


@pytest.mark.parametrize(
    ("name", "is_waited_for"),
    [("zart-server a/1", True), ("zart-migrate a/1", False), ("psql", False)],
)
async def test_who_is_waited_for(
    zart_database: str,
    db: asyncpg.Connection[asyncpg.Record],
    name: str,
    is_waited_for: bool,  # noqa: FBT001 - pytest's
) -> None:
    """A migration may wait for hours for somebody else's report."""
    other = await asyncpg.connect(zart_database, server_settings={"application_name": name})
    try:
        await other.execute("BEGIN; SELECT pg_current_xact_id()")
        moment = await db.fetchval("SELECT clock_timestamp()")

        assert await let_earlier_end(cast("Any", db), moment, within=0) is not is_waited_for
    finally:
        await other.close()
