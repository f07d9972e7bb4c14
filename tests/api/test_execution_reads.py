"""Executions that are read at once: together, and each call with its own answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest
from rig import CHAIN, Rig
from standing_clock import StandingClock
from waiting import GIVE_UP, until

from zart_server.api.execution_reads import ExecutionReads
from zart_server.api.reading import Reading
from zart_server.api.turns import PATIENCE
from zart_server.domain.commands import ExecutionView
from zart_server.domain.errors import ExecutionNotFound, RunNotFound
from zart_server.store.db import Database


@pytest.fixture
async def store(zart_database: str) -> AsyncIterator[Database]:
    opened = await Database.open(zart_database)
    yield opened
    await opened.close()


def told(answer: ExecutionView | BaseException) -> object:
    """Return whose steps were answered, or why there are none."""
    if isinstance(answer, BaseException):
        return type(answer)
    names = [step.step_name for step in answer.steps]
    return answer.execution.execution_id, answer.run.run_number, names


async def test_each_of_many_has_its_own_answer_by_few_statements(rig: Rig, store: Database) -> None:
    for n in range(6):
        await rig.start(f"x{n}", {f"s{n}": ()})
    await rig.client.restart("x0", if_running="supersede")
    wanted = [
        ("x1", None), ("x2", None),  # at once; and then those that wait for them
        ("x0", None), ("x0", 0), ("x0", None), ("nobody", None), ("x1", 7),
        ("x3", 0), ("x4", None), ("x5", None),
    ]  # fmt: skip
    executions = ExecutionReads(Reading(store, 4))

    answers = await asyncio.gather(
        *(executions.get(*one) for one in wanted), return_exceptions=True
    )

    assert list(map(told, answers)) == [
        ("x1", 0, ["s1"]), ("x2", 0, ["s2"]),
        ("x0", 1, ["s0"]), ("x0", 0, ["s0"]), ("x0", 1, ["s0"]), ExecutionNotFound, RunNotFound,
        ("x3", 0, ["s3"]), ("x4", 0, ["s4"]), ("x5", 0, ["s5"]),
    ]  # fmt: skip
    counts, _ = store.seconds.read()
    assert counts[-1] == 5  # connections: two at once, and no batch has x0 twice


async def test_a_read_that_fails_takes_no_other_with_it(rig: Rig, store: Database) -> None:
    await rig.start("x")
    await rig.start("y")
    wanted = ["x", "x", "x", "no text\0", "y"]
    executions = ExecutionReads(Reading(store, 4))

    answers = await asyncio.gather(
        *(executions.get(n, None) for n in wanted), return_exceptions=True
    )

    x, y = ("x", 0, list(CHAIN)), ("y", 0, list(CHAIN))
    assert isinstance(answers[3], Exception)
    assert list(map(told, [*answers[:3], answers[4]])) == [x, x, x, y]


async def test_a_caller_that_left_takes_nobody_with_it(rig: Rig, store: Database) -> None:
    names = [f"x{n}" for n in range(6)]
    for name in names:
        await rig.start(name)
    reading = Reading(store, 1)
    executions = ExecutionReads(reading)

    async with reading.connection() as connection:  # nothing else is read meanwhile
        asked = [asyncio.create_task(executions.get(name, None)) for name in names]
        await connection.fetchval("SELECT 1")
        asked[0].cancel()
        asked[3].cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)

    gone = asyncio.CancelledError
    found = [told(answer) for answer in answers]
    chain = list(CHAIN)
    assert found == [gone if n in (0, 3) else (name, 0, chain) for n, name in enumerate(names)]


async def test_reads_that_take_long_hold_up_no_others(rig: Rig, store: Database) -> None:
    await rig.start("x")
    reading = Reading(store, 1)
    executions = ExecutionReads(reading)

    async with reading.connection():
        asked = [asyncio.create_task(executions.get("x", None)) for _ in range(4)]
        await until(lambda: len(executions._turns._outliving._running) == 2)

    answers = await asyncio.gather(*asked)
    assert {answer.execution.execution_id for answer in answers} == {"x"}
    assert executions._turns._under_way == 0


async def test_calls_that_come_fast_share_one_read_at_a_time(zart_database: str) -> None:
    async def read_all() -> int:
        locking = await asyncpg.connect(zart_database)
        store = await Database.open(zart_database, lock_timeout=GIVE_UP)
        executions = ExecutionReads(Reading(store, 4))
        answers: list[asyncio.Task[ExecutionView]] = []

        async def ask(count: int) -> None:
            for _ in range(count):
                asked = executions.get(f"nobody-{len(answers)}", None)
                answers.append(asyncio.create_task(asked))
            await clock.at_rest()
            assert await locking.fetchval("SELECT 1") == 1

        async with locking.transaction():
            await locking.execute("LOCK TABLE zart.executions")  # no read ends
            await ask(2)  # two turns, which end soon, since they are held up
            await ask(8)
            await clock.passed(PATIENCE)
            for _ in range(4):
                await ask(2)
        found = await asyncio.gather(*answers, return_exceptions=True)
        assert list(map(type, found)) == [ExecutionNotFound] * 18
        await locking.close()
        await store.close()
        counts, _ = store.seconds.read()
        return counts[-1]

    with contextlib.closing(StandingClock()) as clock:
        connections = await asyncio.to_thread(clock.run_until_complete, read_all())
    assert connections == 4  # of the two alone, of eight together, and of those after them
