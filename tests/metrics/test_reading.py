"""What one reading of the database takes is bounded, however much there is."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TypeAlias

import asyncpg
import pytest
from hot.explained import explained
from waiting import eventually

from zart_server.engine.dispatch.tally import Tally
from zart_server.metrics.database import OfTheDatabase
from zart_server.metrics.reading import DatabaseReader
from zart_server.store.db import Database
from zart_server.store.reads.backlog import estimate_paused, read_parts

Sql: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def queue(db: Sql, tasks: int, each: int, *, handlers: int = 1) -> None:
    """Queue so many steps of each handler of so many tasks, which have been due for a minute."""
    await db.execute(
        "INSERT INTO zart.lanes (task_name, handler) SELECT 't' || n, 'h' || h"
        " FROM generate_series(1, $1) n, generate_series(1, $2) h ORDER BY n",
        tasks,
        handlers,
    )
    await db.execute(
        """
        INSERT INTO zart.queue (run_key, step_no, lane, attempt, counted, backoff_base,
            max_attempts, timeout_seconds, queue_no, not_before, scheduled_at, step_name)
        SELECT row_number() OVER (), 0, lane, 1, 0, 0, 3, 60, row_number() OVER (),
            now() - interval '1 minute', now(), 'step'
        FROM generate_series(1, $1) n, zart.lanes
        """,
        each,
    )


async def test_many_steps_are_estimated_by_a_part_of_them(db: Sql, opened: Database) -> None:
    await queue(db, 4, 15_000)
    async with opened.autocommit() as connection:
        parts = await read_parts(connection)
    assert parts.queue < 0.5
    assert (parts.held, parts.leases, parts.dead_steps) == (1, 1, 1)

    reader = DatabaseReader(opened, asyncio.get_running_loop())
    found, again = await reader._read(), await reader._read()
    assert found.queued == again.queued
    assert len(found.queued) == 4
    assert all(12_000 < count < 18_000 for count in found.queued.values())


async def test_the_oldest_steps_of_many_tasks_are_looked_for_in_turns(
    db: Sql, opened: Database
) -> None:
    await queue(db, 300, 1)
    reader = DatabaseReader(opened, asyncio.get_running_loop())
    first, second = await reader._read(), await reader._read()
    assert (len(first.oldest), len(second.oldest)) == (250, 300)
    assert first.looked == first.oldest.keys()  # of the others it is not told that nothing waits
    assert all(60 <= age < 600 for age in second.oldest.values())

    await db.execute("DELETE FROM zart.queue")
    third = await reader._read()
    assert len(third.oldest) == 50
    assert (await reader._read()).oldest == {}


async def test_between_two_looks_no_step_is_told_to_wait_on(db: Sql, opened: Database) -> None:
    """It may be leased since: whoever scales by it would add dispatchers for nothing."""
    await queue(db, 300, 1)
    reader = DatabaseReader(opened, asyncio.get_running_loop())
    first, second = await reader._read(), await reader._read()
    more = [second.oldest[name] - age for name, age in first.oldest.items()]
    assert (more.count(0), sum(each > 0 for each in more)) == (50, 200)

    await db.execute("DELETE FROM zart.queue")
    third = await reader._read()
    assert third.oldest == {name: second.oldest[name] for name in third.oldest} != {}


async def test_tasks_of_many_lanes_take_turns_too(db: Sql, opened: Database) -> None:
    await queue(db, 30, 1, handlers=10)
    reader = DatabaseReader(opened, asyncio.get_running_loop())
    assert [len((await reader._read()).oldest) for _ in range(2)] == [25, 30]


async def test_one_task_of_very_many_lanes_is_looked_at_less_often(
    db: Sql, opened: Database
) -> None:
    await queue(db, 1, 1, handlers=600)
    reader = DatabaseReader(opened, asyncio.get_running_loop())
    assert list((await reader._read()).oldest) == ["t1"]
    await db.execute("DELETE FROM zart.queue")
    assert [len((await reader._read()).oldest) for _ in range(3)] == [1, 1, 0]


async def test_a_task_of_very_many_lanes_rests_alone(db: Sql, opened: Database) -> None:
    await queue(db, 1, 1, handlers=1100)
    await db.execute("INSERT INTO zart.lanes (task_name, handler) VALUES ('small', 'h')")
    reader = DatabaseReader(opened, asyncio.get_running_loop())
    assert list((await reader._read()).oldest) == ["t1"]
    for _ in range(2):  # within its rest
        await db.execute("UPDATE zart.queue SET lane = (SELECT max(lane) FROM zart.lanes)")
        assert set((await reader._read()).oldest) == {"t1", "small"}
        await db.execute("DELETE FROM zart.queue WHERE run_key > 1")
        await db.execute("UPDATE zart.queue SET lane = (SELECT min(lane) FROM zart.lanes)")
        assert list((await reader._read()).oldest) == ["t1"]
    assert set((await reader._read()).oldest) == {"t1"}


async def test_what_is_paused_is_told_by_lane_and_by_rule_not_by_both(
    db: Sql, opened: Database
) -> None:
    await queue(db, 20, 20)
    await db.execute(
        """
        INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, queue_no, not_before, scheduled_at, step_name, rule_key)
        SELECT run_key, 0, lane, 1, 0, 0, 3, 60, queue_no, not_before, now(), 'step',
            1 + run_key / 20 % 20 FROM zart.queue
        """
    )
    async with explained(opened) as tx:
        paused = await estimate_paused(tx.tx, 1.0)
    assert {len(of) for of in paused} == {20}
    assert {sum(of.values()) for of in paused} == {400}
    (plan,) = tx.plans
    assert plan.nodes[0]["Actual Rows"] == 40


async def test_a_lane_that_comes_meanwhile_is_known(db: Sql, opened: Database) -> None:
    reader = DatabaseReader(opened, asyncio.get_running_loop())
    assert (await reader._read()).queued == {}
    await queue(db, 1, 3)
    found = await reader._read()
    ((lane, count),) = found.queued.items()
    assert (found.lanes[lane], count) == ("t1", 3)


async def test_a_lane_that_comes_after_one_of_a_higher_number_is_known(
    db: Sql, opened: Database, zart_database: str
) -> None:
    reader = DatabaseReader(opened, asyncio.get_running_loop())
    other = await asyncpg.connect(zart_database)
    try:
        async with other.transaction():
            late = await other.fetchval(
                "INSERT INTO zart.lanes (task_name, handler) VALUES ('late', 'h') RETURNING lane"
            )
            await queue(db, 1, 6)
            assert list((await reader._read()).lanes.values()) == ["t1"]
    finally:
        await other.close()
    await db.execute("UPDATE zart.queue SET lane = $1 WHERE run_key > 2", late)
    found = await reader._read()
    assert {found.lanes[lane]: n for lane, n in found.queued.items()} == {"t1": 2, "late": 4}


async def test_a_lane_with_the_number_of_a_lost_one_is_known_anew(
    db: Sql, opened: Database
) -> None:
    await queue(db, 1, 3)
    reader = DatabaseReader(opened, asyncio.get_running_loop())
    assert [*(await reader._read()).oldest] == ["t1"]
    await db.execute("UPDATE zart.lanes SET task_name = 'kept'")
    opened._history = "another one, as a connection finds after a failover"
    found = await reader._read()
    assert [*found.lanes.values()] == [*found.oldest] == ["kept"]


async def told(reader: DatabaseReader) -> set[str]:
    """Return the names of the families that are told of the database."""
    collector = OfTheDatabase(reader, Tally(), 20)
    return {family.name for family in await asyncio.to_thread(lambda: list(collector.collect()))}


async def test_a_defect_of_a_reading_leaves_the_last_one_and_a_scrape_answers(
    db: Sql, opened: Database, caplog: pytest.LogCaptureFixture
) -> None:
    reader = DatabaseReader(opened, asyncio.get_running_loop())
    last = await reader._read()
    await db.execute("ALTER TABLE zart.in_doubt RENAME TO elsewhere")
    assert await told(reader) == set()
    reader._last = replace(last, at=time.monotonic() - 30)
    assert "zart_steps" in await told(reader)
    assert "metrics lack what is in the database" in caplog.text


async def test_a_scrape_says_what_is_in_the_way_and_tries_in_vain_for_no_other(
    db: Sql, opened: Database, caplog: pytest.LogCaptureFixture
) -> None:
    reader = DatabaseReader(opened, asyncio.get_running_loop())
    reader._failed_at = float("inf")  # while this one waited for the reading of another scrape
    assert await told(reader) == set()
    assert "metrics lack" not in caplog.text
    reader._failed_at = 0.0
    async with db.transaction():
        await db.execute("LOCK TABLE zart.queue")
        assert await told(reader) == set()
    (line,) = [each for each in caplog.messages if "metrics lack" in each]
    assert line.endswith("it was not read within 2 s: it is slow, or locks are held")
    assert time.monotonic() >= reader._failed_at > 0.0

    async def is_told() -> bool:
        return "zart_steps" in await told(reader)

    await eventually(is_told)


async def test_a_lane_that_nothing_is_known_of_is_left_out(opened: Database) -> None:
    reader = DatabaseReader(opened, asyncio.get_running_loop())
    reader._last = replace(await reader._read(), queued={9: 3}, leased={9: 1})
    assert "zart_steps" in await told(reader)


async def test_what_cannot_be_told_of_a_reading_leaves_the_rest(
    opened: Database, caplog: pytest.LogCaptureFixture
) -> None:
    reader = DatabaseReader(opened, asyncio.get_running_loop())
    no_number = float("nan")
    reader._last = replace(await reader._read(), lanes={9: "t"}, queued={9: no_number})
    assert await told(reader) == {"zart_reading_age_seconds", "zart_reading_seconds"}
    assert "metrics lack some of what is in the database" in caplog.text
