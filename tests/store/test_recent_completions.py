"""What was completed before a server hears of a breaker is counted once it does."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import asyncpg
import pytest
from lanes import queue, wanting
from patient import patient_database
from rig import eventually
from waiting import until

from zart_server.domain.breakers import BreakerSettings, CreateBreaker
from zart_server.domain.commands import Caller
from zart_server.domain.dispatch import Completed, Failed, LeasedTask, Outcome
from zart_server.domain.model import StepError
from zart_server.engine.background.breakers import Breakers
from zart_server.engine.background.telling_completed import TellingCompleted
from zart_server.engine.dispatch.completions import Completions
from zart_server.engine.dispatch.lease import lease_tasks
from zart_server.engine.dispatch.low_water import LowWater
from zart_server.engine.dispatch.recent_completions import RecentCompletions
from zart_server.engine.dispatch.report_batches import ReportBatches
from zart_server.engine.dispatch.tally import Tally
from zart_server.engine.dispatch.waiting_room import WaitingRoom
from zart_server.engine.operations.create_breaker import create_breaker
from zart_server.store.db import Database
from zart_server.store.pausing.rules import SHARE_PAUSE_LOCK
from zart_server.store.queue import parse_task_id

SETTINGS = BreakerSettings("t", None, 2, timedelta(minutes=10), 0.5, None, None, 1, None)
BAD = Failed(StepError("CardError", "declined", ""), retryable=False, retry_after=None)
BEGAN = "UPDATE zart.breakers SET closed_at = statement_timestamp() - interval '{} seconds'"


class Server:
    """The parts of a server that count for breakers.

    ``looking`` has nothing at hand of what was leased, as if another server had leased it.
    """

    def __init__(
        self, store: Database, looking: Database | None = None, kept: float = math.inf
    ) -> None:
        self._store = store
        self.recent = RecentCompletions(kept)
        completions = Completions(self.recent)
        self._reports = ReportBatches(store, WaitingRoom(1), completions, Tally())
        db = looking or store
        self.breakers = Breakers(db, TellingCompleted(db, completions))

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


@pytest.fixture
async def looking(store: Database, zart_database: str) -> AsyncIterator[Database]:
    """The same database, with nothing at hand of it."""
    opened = await patient_database(zart_database)
    yield opened
    await opened.close()


async def completed(store: Database) -> int | None:
    """Return how many completed attempts were counted, None where none were."""
    async with store.autocommit() as connection:
        found: int | None = await connection.fetchval(
            "SELECT sum(completed)::int FROM zart.breaker_counts"
        )
        return found


async def failures_are_old(store: Database) -> None:
    """Wait until whatever failed is old enough to be judged."""

    async def are_old() -> bool:
        async with store.autocommit() as connection:
            return bool(
                await connection.fetchval(
                    "SELECT bool_and(completed_at < statement_timestamp() - interval '1 second')"
                    " FROM zart.attempts"
                )
            )

    await eventually(are_old)


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
        counted.append(await completed(store))
    await server.report(await server.lease(1), Completed("1"))
    await server.create()
    await server.breakers.turn()

    assert counted == [4, 4]
    async with store.autocommit() as connection:
        rows = await connection.fetch(
            "SELECT sum(completed)::int FROM zart.breaker_counts GROUP BY breaker_key"
        )
    assert [row[0] for row in rows] == [5]


async def test_what_was_leased_before_is_not_even_read(store: Database, looking: Database) -> None:
    """Where it is not there to be read, nothing fails."""
    server = Server(store, looking)
    await queue(store, 1, 2)
    before = await server.lease(2)
    await server.report(before, Completed("1"))
    await server.create()
    async with store.transaction() as tx:
        await tx.execute("ALTER TABLE zart.runs RENAME TO gone")

    async with store.transaction() as looking_now:
        await looking_now.execute("SELECT FROM zart.breaker_looks FOR UPDATE")
        await server.breakers.turn()

    assert await completed(store) is None


async def test_what_is_older_than_a_server_needs_to_hear_of_a_breaker_is_not_counted(
    store: Database,
) -> None:
    """Though nothing was completed since."""
    server = Server(store, kept=0.01)
    await queue(store, 1, 2)
    await server.create()
    await server.report(await server.lease(2), Completed("1"))
    await until(lambda: not server.recent.leased_since(0))
    await server.breakers.turn()

    assert await completed(store) is None


async def test_of_many_all_count_and_what_is_at_hand_stays_as_it_is(
    store: Database, looking: Database
) -> None:
    """They are looked up in pieces, and what others have at hand does not fall out for them."""
    server = Server(store, looking)
    await queue(store, 1, 1100)
    await server.create()
    tasks = [*await server.lease(1000), *await server.lease(100)]
    await server.report(tasks, Completed("1"))
    await server.breakers.turn()

    assert await completed(store) == 1100
    keys = [parsed[0] for task in tasks if (parsed := parse_task_id(task.task_id))]
    async with looking.autocommit() as connection:
        assert len(keys) == 1100
        assert connection.runs.at_hand(keys) == {}


async def test_what_could_not_be_counted_is_counted_the_next_time(
    store: Database, looking: Database
) -> None:
    """So the breaker does not open by what failed alone: two of five are too few."""
    server = Server(store, looking)
    await queue(store, 1, 8)
    await server.create()
    await server.report(await server.lease(3), Completed("1"))
    await server.report(await server.lease(2), BAD)
    await failures_are_old(store)
    async with store.transaction() as tx:
        await tx.execute(BEGAN.format(60))
        await tx.execute("ALTER TABLE zart.executions RENAME TO gone")
    for _ in range(2):
        with pytest.raises(asyncpg.UndefinedTableError):
            await server.breakers.turn()
    async with store.transaction() as tx:
        await tx.execute("ALTER TABLE zart.gone RENAME TO executions")
    for _ in range(2):
        await server.breakers.turn()

    assert await completed(store) == 3
    async with store.autocommit() as connection:
        assert await connection.fetchval("SELECT status FROM zart.breakers") == "closed"


async def test_one_that_is_made_in_an_outage_opens_once_each_server_has_told(
    store: Database,
) -> None:
    """By what has failed since it was made, beside what was completed."""
    server = Server(store)
    await queue(store, 1, 8)
    await server.create()

    async def status_after(seconds: int) -> str:
        await failures_are_old(store)
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
