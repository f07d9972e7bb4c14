"""Errors of thousands of characters are told apart in slices: no transaction is silent meanwhile."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from breaking import breaker
from outliving import outlived
from patient import patient_database
from rig import Rig

from zart_server.domain.dispatch import Failed, Outcome
from zart_server.domain.fingerprint import NEWEST, fingerprint
from zart_server.domain.model import ReportStatus, StepError
from zart_server.engine.background.failure_counting import FailureCounting
from zart_server.engine.dispatch.outcome_batch import Recorded, find_batch
from zart_server.engine.dispatch.record_in_general import record_in_general
from zart_server.store.breaking.counts import FailedAttempt
from zart_server.store.connection import Tx
from zart_server.store.db import Database

MANY = 900
LONG_TEXT = "0xdeadbeef:1 " * 1_000  # more than a millisecond
NOW = datetime.now(UTC)


@pytest.fixture
async def store(zart_database: str) -> AsyncIterator[Database]:
    database = await patient_database(zart_database)
    yield database
    await database.close()


async def attempts(rig: Rig, message: str = "{n} " + LONG_TEXT) -> list[FailedAttempt]:
    """Return attempts that ended badly, of a step `charge` of the task `t`, the last one first."""
    await rig.start("x", {"charge": ()})
    definition_key = await rig.db.fetchval("SELECT definition_key FROM zart.runs")
    return [
        FailedAttempt(
            n, 0, 1, 2**62 - n, NOW, n < 2, f"x-{n}", definition_key, "E", message.format(n=n)
        )
        for n in range(MANY)
    ]


async def counted(
    failures: FailureCounting, tx: Tx, failed: list[FailedAttempt]
) -> tuple[int, ...]:
    found = await failures.counted(tx, failed)
    last = [one.run_key for one in found.last.values()]
    return (*found.counts.values(), *found.young.values(), *last)


async def test_a_look_of_breakers_outlives_them(rig: Rig, zart_database: str) -> None:
    failed = await attempts(rig)
    group = fingerprint("E", failed[0].error_message or "", NEWEST).error_group_id
    await breaker(rig.client, error_group_id=group)

    async def look(tx: Tx) -> None:
        failures = FailureCounting()
        assert await counted(failures, tx, failed) == (MANY, 2, 0)

        begun = time.thread_time()
        assert await counted(failures, tx, failed) == (MANY, 2, 0)
        assert time.thread_time() - begun < 0.2  # what the last look found out is kept

        assert await counted(failures, tx, [one._replace(attempt=2) for one in failed[7:]]) == (
            MANY - 7,
            0,
            7,
        )

    await outlived(zart_database, look)


async def test_a_look_goes_by_the_breakers_as_they_are(rig: Rig, store: Database) -> None:
    failed = await attempts(rig, "short")
    breaker_id = await breaker(rig.client)
    failures = FailureCounting()

    async def count() -> tuple[int, ...]:
        async with store.transaction() as tx:
            return await counted(failures, tx, failed)

    assert await count() == (MANY, 2, 0)
    await rig.client.update_breaker(breaker_id, step_pattern="pay*")
    assert await count() == ()
    await rig.client.update_breaker(breaker_id, step_pattern="ch*")
    assert await count() == (MANY, 2, 0)
    await rig.db.execute("UPDATE zart.breakers SET token_from = $1", failed[100].lease_token)
    assert await count() == (100, 2, 0)
    await rig.client.delete_breaker(breaker_id)
    assert await count() == ()


async def test_a_thousand_deaths_are_recorded(rig: Rig, zart_database: str) -> None:
    await rig.start("x", {f"s{n}": () for n in range(MANY)}, handler="h")
    tasks = await rig.lease(MANY, lease_duration=3600)
    outcomes = [
        Outcome(
            task.task_id,
            task.lease_token,
            Failed(StepError("E", f"{n} {LONG_TEXT}"), retryable=False, retry_after=None),
        )
        for n, task in enumerate(tasks)
    ]

    async def record(tx: Tx) -> Recorded:
        return await record_in_general(tx, await find_batch(tx, outcomes))

    done = await outlived(zart_database, record)
    assert set(done.statuses.values()) == {ReportStatus.RECORDED}
    assert await rig.db.fetchval("SELECT count(*) FROM zart.dead_steps") == MANY
