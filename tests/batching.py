"""What tests of batches do: make dead steps, create a batch, wait for its state."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
from patient import patient_database
from rig import Rig, eventually, specs
from waiting import GIVE_UP

import zart
from zart.models import Batch, StepError
from zart.testing.server import ServerUnderTest
from zart_server.api.attempted import refusal_of
from zart_server.engine.background.batches import Batches, _Here
from zart_server.store.db import Database

ONE = {"a": ()}


def batch_of(batch_id: str, which: str) -> str:
    """Return the statement of a batch that has ended, of the executions ``e`` for which this is so.

    ``which`` is SQL, for as many as no call would select in a test's time.
    """
    return f"""
        WITH made AS (
            INSERT INTO zart.batches (batch_id, status, operation, selection, as_of, created_by,
                principal, reason, incident, completed_at)
            VALUES ('{batch_id}', 'cancelled', '{{}}', '{{}}', now(), '', '', '', '', now())
            RETURNING batch_key
        )
        INSERT INTO zart.batch_items (batch_key, item_no, execution_id, execution_key)
        SELECT batch_key, row_number() OVER (ORDER BY execution_key), execution_id, execution_key
        FROM made, zart.executions e WHERE {which}
    """


async def start_many(client: zart.Client, count: int, prefix: str = "x", **options: Any) -> None:
    """Start so many executions of a graph with one step."""
    await client.register_task("t", specs(ONE, **options))
    for begin in range(0, count, 1000):
        names = [f"{prefix}-{n}" for n in range(begin, min(count, begin + 1000))]
        await client.batch_start_executions([zart.Start("t", {}, name) for name in names])


async def dead_steps(client: zart.Client, count: int, prefix: str = "x") -> None:
    """Start so many executions whose one step is dead."""
    await start_many(client, count, prefix)
    await fail_all(client)


async def fail_all(client: zart.Client) -> int:
    """Let whatever can be leased die, and return how much that was."""
    ending = zart.Failed(StepError("CardError", "card 4711 was declined", ""), retryable=False)
    failed = 0
    while tasks := await client.lease_tasks("d", ["t"], max_tasks=1000):
        await client.report_tasks(
            "d", [zart.Outcome(t.task_id, t.lease_token, ending) for t in tasks]
        )
        failed += len(tasks)
    return failed


async def until_batch(
    client: zart.Client, batch_id: str, status: str, within: float = GIVE_UP
) -> Batch:
    """Wait until a batch has a status, and return it."""
    found: list[Batch] = []

    async def has_status() -> bool:
        found[:] = [await client.get_batch(batch_id)]
        return found[0].status == status

    await eventually(has_status, within)
    return found[0]


async def check_totals(db: asyncpg.Connection[asyncpg.Record], batch_id: str) -> None:
    """Check that the totals of a batch are those of its items, and that each is on record once."""
    async with db.transaction(isolation="repeatable_read"):  # it may be under way
        await _check_totals(db, batch_id)


async def _check_totals(db: asyncpg.Connection[asyncpg.Record], batch_id: str) -> None:
    row = await db.fetchrow("SELECT * FROM public.zart_batches WHERE batch_id = $1", batch_id)
    assert row is not None
    counted = await db.fetch(
        "SELECT status, count(*) FROM public.zart_batch_items WHERE batch_id = $1 GROUP BY 1",
        batch_id,
    )
    items: dict[str, int] = {row[0]: row[1] for row in counted}
    totals = {name: row[name] for name in ("done", "refused", "pending", "cancelled") if row[name]}
    assert totals == items
    assert row["selected"] == sum(items.values())
    done = await db.fetch(
        "SELECT execution_id, step_name, count(*) FROM zart.operations"
        " WHERE batch_id = $1 AND kind NOT LIKE '%_batch' GROUP BY 1, 2",
        batch_id,
    )
    assert all(count == 1 for _, _, count in done)
    assert len(done) == items.get("done", 0)


async def retried(rig: Rig, execution_id: str) -> int:
    """Return how many times a step of an execution was retried."""
    found: int = await rig.db.fetchval(
        "SELECT count(*) FROM zart.operations WHERE execution_id = $1 AND kind = 'retry_step'",
        execution_id,
    )
    return found


async def load_runs(rig: Rig, count: int, status: str) -> None:
    """Insert so many executions of a graph with one step, as far as lists and batches ask."""
    await rig.client.register_task("t", specs(ONE))
    await rig.db.execute(
        f"""
        WITH created AS (
            INSERT INTO zart.executions (execution_id, task_name)
            SELECT 'x-' || n, 't' FROM generate_series(0, {count - 1}) n RETURNING execution_key
        )
        INSERT INTO zart.runs (execution_key, run_number, definition_key, status, "trigger",
            triggered_by, reason, completed_at)
        SELECT execution_key, 0, (SELECT max(definition_key) FROM zart.definitions), '{status}',
            'initial', '', '', CASE WHEN '{status}' = 'completed' THEN now() END
        FROM created
        """
    )


class ByHand:
    """The one batch there is, as a server of its own works on it: turn by turn."""

    def __init__(self, db: Database) -> None:
        self._batches = Batches(db, refusal_of)

    @property
    def here(self) -> _Here:
        """What this server knows of the batch, once it has had a turn."""
        [here] = self._batches._here.values()
        return here

    async def turn(self) -> None:
        """Take a turn, however soon after the last one."""
        self._batches._rests_until = 0.0
        for here in self._batches._here.values():
            here.not_before = 0.0
        await self._batches.turn()

    async def until_failed(self, times: int) -> None:
        """Take turns until the same has failed so many times as nothing should."""
        async with asyncio.timeout(GIVE_UP):
            await self.turn()
            while self.here.failed < times:
                await self.turn()


@contextlib.asynccontextmanager
async def by_hand(server: ServerUnderTest, **settings: Any) -> AsyncIterator[ByHand]:
    """Have no other server work on batches, and a database with these settings for this one."""
    stopping = server.running.runtime.batches.stop()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(stopping, server.loop))
    db = await patient_database(server.database_url, pool_size=1, **settings)
    try:
        yield ByHand(db)
    finally:
        await db.close()
