"""What was completed before a server hears of a breaker is counted once it does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from lanes import queue, wanting
from rig import eventually

from zart_server.domain.breakers import BreakerSettings, CreateBreaker
from zart_server.domain.commands import Caller
from zart_server.domain.dispatch import Completed, Failed, LeasedTask, Outcome
from zart_server.domain.model import StepError
from zart_server.engine.background.breakers import Breakers
from zart_server.engine.dispatch.completions import Completions
from zart_server.engine.dispatch.lease import lease_tasks
from zart_server.engine.dispatch.low_water import LowWater
from zart_server.engine.dispatch.report_batches import ReportBatches
from zart_server.engine.dispatch.tally import Tally
from zart_server.engine.dispatch.waiting_room import WaitingRoom
from zart_server.engine.operations.create_breaker import create_breaker
from zart_server.store.db import Database
from zart_server.store.pausing.rules import SHARE_PAUSE_LOCK

SETTINGS = BreakerSettings("t", None, 2, timedelta(minutes=10), 0.5, None, None, 1, None)
BAD = Failed(StepError("CardError", "declined", ""), retryable=False, retry_after=None)
BEGAN = "UPDATE zart.breakers SET closed_at = statement_timestamp() - interval '{} seconds'"


class Server:
    """The parts of a server that count for breakers."""

    def __init__(self, store: Database) -> None:
        self._store = store
        completions = Completions()
        self._reports = ReportBatches(store, WaitingRoom(1), completions, Tally())
        self.breakers = Breakers(store, completions)

    async def lease(self, count: int) -> list[LeasedTask]:
        async with self._store.transaction(first=SHARE_PAUSE_LOCK) as tx:
            found = await lease_tasks(tx, wanting(count), LowWater())
        assert len(found) == count
        return found

    async def report(self, tasks: Sequence[LeasedTask], ending: Completed | Failed) -> None:
        await self._reports.record([Outcome(t.task_id, t.lease_token, ending) for t in tasks])

    async def create(self) -> None:
        async with self._store.transaction() as tx:
            await create_breaker(tx, CreateBreaker(SETTINGS), Caller())


async def test_what_was_completed_before_a_breaker_is_heard_of_counts(store: Database) -> None:
    """Not what was leased before it was made; and nothing twice, whatever is asked for later."""
    server = Server(store)
    await queue(store, 1, 12)
    before = await server.lease(2)
    await server.create()
    await server.report(before, Completed("1"))
    await server.report(await server.lease(4), Completed("1"))
    counted = []
    for _ in range(2):
        await server.breakers.turn()
        async with store.autocommit() as connection:
            counted.append(
                await connection.fetchval("SELECT sum(completed) FROM zart.breaker_counts")
            )
    await server.report(await server.lease(1), Completed("1"))
    await server.create()
    await server.breakers.turn()

    assert counted == [4, 4]
    async with store.autocommit() as connection:
        rows = await connection.fetch(
            "SELECT sum(completed)::int FROM zart.breaker_counts GROUP BY breaker_key"
        )
    assert [row[0] for row in rows] == [5]


async def test_one_that_is_made_in_an_outage_opens_once_each_server_has_told(
    store: Database,
) -> None:
    """By what has failed since it was made, beside what was completed."""
    server = Server(store)
    await queue(store, 1, 8)
    await server.create()

    async def is_told() -> bool:
        """Whether what failed is old enough to be judged."""
        async with store.autocommit() as connection:
            return bool(
                await connection.fetchval(
                    "SELECT bool_and(completed_at < statement_timestamp() - interval '1 second')"
                    " FROM zart.attempts"
                )
            )

    async def status_after(seconds: int) -> str:
        await eventually(is_told)
        async with store.transaction() as tx:
            await tx.execute(BEGAN.format(seconds))
            await tx.execute("UPDATE zart.breaker_looks SET looked_at = '-infinity'")
        await server.breakers.turn()
        async with store.autocommit() as connection:
            return str(await connection.fetchval("SELECT status FROM zart.breakers"))

    await server.report(await server.lease(3), Completed("1"))
    await server.report(await server.lease(2), BAD)
    assert await status_after(2) == "closed"  # two of five
    await server.report(await server.lease(1), BAD)
    assert await status_after(-3600) == "closed"  # three of six, but it has not begun long ago
    assert await status_after(2) == "open"
