"""All rules are read by one transaction of a server at a time; what is judged is as new as it was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from outliving import outlived
from patient import patient_database
from waiting import until

from zart_server import aside
from zart_server.domain.rule_set import Judgement
from zart_server.store.connection import Connection
from zart_server.store.db import Database
from zart_server.store.pausing import active, judging
from zart_server.store.pausing.judging import judge_to_the_end, refresh_rules, write_judged
from zart_server.store.pausing.rules import scope_of

# Of whoever cares about no lock; a server takes the pause lock before.
ADD_RULES = """
    INSERT INTO zart.pause_rules (rule_id, execution_id, everything, created_by, reason, epoch)
    SELECT 'pr-' || epoch + n, 'x', false, 'op', '', epoch + n
    FROM zart.pause_epoch, generate_series(1, $1::int) n
"""
COUNT = "UPDATE zart.pause_epoch SET epoch = epoch + $1"
STEP = ("x", "t", "a")
OTHERS = 5


async def add_rules(db: asyncpg.Connection[asyncpg.Record], number: int) -> None:
    """Add rules of one execution."""
    await db.execute(ADD_RULES, number)
    await db.execute(COUNT, number)


@pytest.fixture
async def store(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record]
) -> AsyncIterator[Database]:
    """Open a database that has one rule."""
    await add_rules(db, 1)
    database = await patient_database(zart_database)
    yield database
    await database.close()


class Readings:
    """How often all rules were read, each time until it may go on, and who waits meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = self.have_read = 0
        self.may_go_on = asyncio.Event()
        self.waiting: set[int] = set()
        read, give_sign = active.read_active, Connection.give_sign

        async def read_slowly(connection: Connection) -> Any:
            self.number += 1
            found = await read(connection)
            self.have_read += 1
            await self.may_go_on.wait()
            return found

        async def giving_sign(connection: Connection) -> None:
            self.waiting.add(id(connection))
            await give_sign(connection)

        monkeypatch.setattr(aside, "_SIGNS", 0.01)
        monkeypatch.setattr(judging, "read_active", read_slowly)
        monkeypatch.setattr(Connection, "give_sign", giving_sign)

    async def wait_for(self, waiting: int) -> None:
        """Wait until so many wait for the one that reads."""
        await until(lambda: len(self.waiting) == waiting)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Readings:
    """Readings that go on once they may."""
    return Readings(monkeypatch)


async def refresh(store: Database) -> None:
    """Bring the rules to the newest epoch, in no transaction."""
    async with store.autocommit() as connection:
        await refresh_rules(connection)


async def since(store: Database) -> int | None:
    """Return the epoch of the rules at hand."""
    async with store.autocommit() as connection:
        return connection.pauses.since


@pytest.mark.parametrize("case", ["none at hand", "too many have changed"])
async def test_one_reads_while_the_others_wait(
    store: Database,
    db: asyncpg.Connection[asyncpg.Record],
    monkeypatch: pytest.MonkeyPatch,
    readings: Readings,
    case: str,
) -> None:
    known = case == "too many have changed"
    if known:
        readings.may_go_on.set()
        await refresh(store)
        readings.may_go_on.clear()
        monkeypatch.setattr(active, "_MAX_CHANGES", 2)
        await add_rules(db, 2)
    before = readings.number

    refreshing = [asyncio.create_task(refresh(store)) for _ in range(1 + OTHERS)]
    await readings.wait_for(OTHERS)
    readings.may_go_on.set()
    await asyncio.gather(*refreshing)

    assert readings.number == before + 1
    assert await since(store) == (3 if known else 1)


async def write(judgement: Judgement) -> Judgement | None:
    """Do nothing by a judgement of an older epoch than two, as a statement does."""
    return judgement if judgement.epoch == 2 else None


@pytest.mark.parametrize("how", ["judge to the end", "write judged"])
async def test_who_waited_judges_by_what_has_changed_since(
    store: Database, db: asyncpg.Connection[asyncpg.Record], readings: Readings, how: str
) -> None:
    async def judged() -> Judgement:
        async with store.transaction() as tx:
            if how == "judge to the end":
                return await judge_to_the_end(tx, [STEP])
            return (await write_judged(tx, [STEP], write))[0]

    reading = asyncio.create_task(refresh(store))
    await until(lambda: readings.have_read)
    await add_rules(db, 1)
    judging_it = asyncio.create_task(judged())
    await readings.wait_for(1)
    readings.may_go_on.set()

    assert (await judging_it).epoch == 2
    await reading
    assert readings.number == 1


async def test_where_the_one_that_reads_is_cut_off_another_reads(
    store: Database, readings: Readings
) -> None:
    reading = asyncio.create_task(refresh(store))
    await until(lambda: readings.number)
    others = [asyncio.create_task(refresh(store)) for _ in range(OTHERS)]
    await readings.wait_for(OTHERS)
    reading.cancel()
    await until(lambda: readings.number == 2)
    readings.may_go_on.set()

    await asyncio.gather(*others)
    assert readings.number == 2
    assert await since(store) == 1


async def test_a_transaction_outlives_the_reading_of_many(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_rules(db, 50)
    read = 0

    def slow(row: asyncpg.Record) -> Any:
        nonlocal read
        read += 1
        until = time.monotonic() + 0.03
        while time.monotonic() < until:
            pass
        return scope_of(row)

    monkeypatch.setattr(active, "scope_of", slow)
    await outlived(zart_database, refresh_rules)
    assert read >= 50
