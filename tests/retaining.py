"""What tests of retention do: make what is there old, and have a server go through it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import asyncpg

from zart.testing.server import ServerUnderTest, serving


@contextlib.contextmanager
def keeping(zart_database: str, **settings: Any) -> Iterator[ServerUnderTest]:
    """Run a server by which executions are kept for 60 days, and operations for 400.

    It goes through what has ended only when it is told to.
    """
    kept = {"retention": "60d", "operations_retention": "400d"}
    with serving(zart_database, **kept, **settings) as server:
        stop_passes(server)
        yield server


def stop_passes(server: ServerUnderTest) -> None:
    """Have the server go through what has ended only when it is told to."""
    stopping = server.running.runtime.retention.stop()
    asyncio.run_coroutine_threadsafe(stopping, server.loop).result()


async def sweep(server: ServerUnderTest, taken_for: timedelta | None = None) -> None:
    """Have the server go through what has ended, once more and now.

    Or, if the pass is taken for so long as it looks, do what it then does.
    """

    async def go() -> None:
        retention = server.running.runtime.retention
        await retention.stop()  # what it does by itself would be in the way
        async with retention._db.transaction() as tx:
            await tx.execute(
                "UPDATE zart.retention_passes SET taken_until ="
                " COALESCE(statement_timestamp() + $1::interval, '-infinity')",
                taken_for,
            )
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


async def end_old(db: asyncpg.Connection[asyncpg.Record], *, days: int = 40) -> None:
    """Have all that is unfinished completed, so many days ago, and nobody do it."""
    await db.execute(
        "UPDATE zart.runs SET status = 'completed', completed_at = statement_timestamp()"
        " WHERE completed_at IS NULL"
    )
    await db.execute("DELETE FROM zart.queue")
    await make_old(db, days=days)


async def make_operations_old(db: asyncpg.Connection[asyncpg.Record], *, days: int = 401) -> None:
    """Have all operations, attempts at some, and ends of batches be so many days older."""
    async with db.transaction():
        await db.execute("SET LOCAL zart.purge = 'on'")
        for table in ("operations", "operation_attempts", "batches"):
            column = "completed_at" if table == "batches" else "created_at"
            await db.execute(
                f"UPDATE zart.{table} SET {column} = {column} - $1::interval",
                timedelta(days=days),
            )


async def put_in_doubt(db: asyncpg.Connection[asyncpg.Record], task_name: str) -> None:
    """Have an attempt of each execution of a task be in doubt, so that it stays."""
    await db.execute(
        """
        INSERT INTO zart.in_doubt (run_key, step_no, attempt, execution_id, task_name, run_number,
            step_name, ended_as, swept, dispatcher_id, principal, lease_token, started_at)
        SELECT run_key, 0, 1, execution_id, task_name, 0, 'a', 'lost', true, 'd', '', 1,
            statement_timestamp()
        FROM zart.executions JOIN zart.runs USING (execution_key) WHERE task_name = $1
        """,
        task_name,
    )


async def left(db: asyncpg.Connection[asyncpg.Record]) -> list[str]:
    """Return the executions that are there."""
    rows = await db.fetch("SELECT execution_id FROM zart.executions ORDER BY execution_id")
    return [row[0] for row in rows]


async def slow_down(
    db: asyncpg.Connection[asyncpg.Record], seconds: float, *, execution_id: str = "%"
) -> None:
    """Have the removal of each execution, or of this one, take so long."""
    await db.execute(
        "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN PERFORM pg_sleep({seconds}); RETURN OLD; END $$;"
        "CREATE TRIGGER slow BEFORE DELETE ON zart.executions FOR EACH ROW"
        f" WHEN (OLD.execution_id LIKE '{execution_id}') EXECUTE FUNCTION public.slow()"
    )


async def refuse_removal(
    db: asyncpg.Connection[asyncpg.Record], *, execution_id: str = "%", table: str = "executions"
) -> None:
    """Have the removal of every execution, or of this one, fail as nothing should.

    Or, in place of executions, of what another table has of them.
    """
    await db.execute(
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'not now'; END $$;"
        f"CREATE TRIGGER refused BEFORE DELETE ON zart.{table} FOR EACH ROW"
        f" WHEN (OLD.execution_id LIKE '{execution_id}') EXECUTE FUNCTION public.refuse()"
    )
