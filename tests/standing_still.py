"""Transactions that stand still where a test wants them to, for as long as it wants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rig import Rig, eventually

# They wait for no lock: for one a transaction may wait but a moment.
_STAND_STILL = """
    CREATE FUNCTION public.stand_still() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        LOOP
            EXIT WHEN pg_try_advisory_xact_lock(4242);
            PERFORM pg_sleep(0.01);
        END LOOP;
        RETURN NULL;
    END $$;
    CREATE TRIGGER stand_still AFTER {} EXECUTE FUNCTION public.stand_still();
    SELECT pg_advisory_lock(4242)
"""


@asynccontextmanager
async def standing_still(rig: Rig, after: str) -> AsyncIterator[None]:
    """Have transactions stand still after this until the context is left: ``INSERT ON zart.queue``."""
    await rig.db.execute(_STAND_STILL.format(after))
    try:
        yield
    finally:
        await rig.db.execute("SELECT pg_advisory_unlock(4242)")


async def until_standing_still(rig: Rig) -> None:
    """Wait until one does."""

    async def is_any() -> bool:
        found: bool = await rig.db.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity"
            " WHERE wait_event = 'PgSleep' AND datname = current_database())"
        )
        return found

    await eventually(is_any)
