"""All that a database holds, for tests of what changes nothing."""

from __future__ import annotations

import asyncpg

# What servers note by themselves, whatever is called: when somebody looked last; which tasks
# dispatchers asked for, and when; that nothing which a rule withholds is in flight.
_LOOKS = ("breaker_looks", "retention_passes")
_BUT_NOTED = {
    "task_names": "WHERE definition_key IS NOT NULL",
    "operations": "WHERE kind <> 'drain'",
}


async def count_operations(db: asyncpg.Connection[asyncpg.Record]) -> int:
    """Return how many operations are on record but for those that servers note by themselves."""
    found: int = await db.fetchval(
        f"SELECT count(*) FROM zart.operations {_BUT_NOTED['operations']}"
    )
    return found


async def everything(
    db: asyncpg.Connection[asyncpg.Record], *, but: str = ""
) -> dict[str, list[str]]:
    """Return all rows of all tables as text, ``but`` those of one table and what servers note."""
    tables = await db.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'zart' AND tablename <> ALL($1)",
        [*_LOOKS, but],
    )
    row = "(to_jsonb(t) - '{last_asked_at,drained_at,is_recorded}'::text[])::text"
    return {
        name: sorted(
            str(each[0])
            for each in await db.fetch(
                f"SELECT {row} FROM zart.{name} t {_BUT_NOTED.get(name, '')}"
            )
        )
        for (name,) in tables
    }
