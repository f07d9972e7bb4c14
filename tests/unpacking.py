"""Large results, stored in little room or as they are, and how many pieces of them are read."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

SIZE = 1_000_000  # bytes of either, as text
PACKED = f'"{"x" * (SIZE - 2)}"'  # takes 12 KB where it is stored, 4 KB by lz4
AS_IT_IS = f'"{secrets.token_hex(SIZE // 2 - 1)}"'
PIECES = {PACKED: 6, AS_IT_IS: 500}  # of one result, about; fewer by lz4

_READ = """
    SELECT sum(pg_stat_get_xact_tuples_fetched(i.indexrelid))::bigint
    FROM pg_class c JOIN pg_index i ON i.indrelid = c.reltoastrelid
    WHERE c.oid = ANY('{zart.steps, zart.attempts}'::regclass[])
"""


async def pieces_read(connection: Any) -> int:
    """Return how many pieces of large results and errors the open transaction has read so far."""
    count: int = await connection.fetchval(_READ)
    return count


async def make_large(db: Any, execution_ids: Sequence[str], step_nos: range, text: str) -> None:
    """Give completed steps a large result, unheard by any server."""
    async with db.transaction():
        await db.execute(
            "SET LOCAL zart.purge = 'on'"
        )  # completed steps never change, but for this
        await db.execute(
            "UPDATE zart.steps SET result = $1::json FROM zart.runs JOIN zart.executions"
            " USING (execution_key) WHERE runs.run_key = steps.run_key"
            " AND execution_id = ANY($2::text[]) AND step_no = ANY($3::integer[])",
            text,
            list(execution_ids),
            list(step_nos),
        )
