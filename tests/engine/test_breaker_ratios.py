"""The ratio of a breaker is of all that ended, and is met where it is met exactly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from breaking import ONE, breaker, count_by_now, fail, until, until_counted
from patient import patient_database
from rig import Rig, eventually

from zart.models import StepError
from zart_server.domain.fingerprint import NEWEST, fingerprint
from zart_server.store.breaking.counts import find_reached
from zart_server.store.db import Database

WINDOW = 3600.0  # none of what is counted goes meanwhile
OTHER = StepError("RouteError", "no route to host", "")
DECLINED = StepError("CardError", "the card was declined", "")
GROUP = fingerprint(DECLINED.type, DECLINED.message, NEWEST).error_group_id


@pytest.fixture
async def store(zart_database: str) -> AsyncIterator[Database]:
    """The database, as a server opens it."""
    database = await patient_database(zart_database)
    yield database
    await database.close()


async def until_beside(rig: Rig, breaker_id: str, column: str, wanted: int) -> None:
    """Wait until so many are counted beside those that a breaker opens for."""

    async def are_counted() -> bool:
        found = await rig.db.fetchval(
            f"SELECT sum({column}) FROM zart.breaker_counts JOIN zart.breakers"
            " USING (breaker_key, generation) WHERE breaker_id = $1",
            breaker_id,
        )
        return bool(found == wanted)

    await eventually(are_counted)


async def test_seven_of_twenty_five_are_0_28(rig: Rig) -> None:
    """The product of floats is more than seven."""
    breaker_id = await breaker(
        rig.client, failure_threshold=7, min_failure_ratio=0.28, window=WINDOW
    )
    await count_by_now(rig, breaker_id)
    for n in range(18):
        await rig.start(f"good-{n}", ONE)
    await rig.complete(*await rig.lease(18))
    await until_beside(rig, breaker_id, "completed", 18)
    await fail(rig, 7)
    await until(rig.client, breaker_id, "OPEN")


async def test_the_ratio_of_one_group_is_of_what_ended_with_other_errors_too(
    rig: Rig, store: Database
) -> None:
    settings: dict[str, Any] = {"failure_threshold": 2, "error_group_id": GROUP, "window": WINDOW}
    breaker_id = await breaker(rig.client, min_failure_ratio=0.5, **settings)
    without = await breaker(rig.client, **(settings | {"failure_threshold": 100}))
    await count_by_now(rig, breaker_id)
    await fail(rig, 3, "other", error=OTHER)
    await until_beside(rig, breaker_id, "failed_otherwise", 3)
    await fail(rig, 2, error=DECLINED)
    await until_counted(rig.client, breaker_id, 2)
    key = await rig.db.fetchval(
        "SELECT breaker_key FROM zart.breakers WHERE breaker_id = $1", breaker_id
    )
    async with store.autocommit() as connection:  # as a look does, once none of them is young
        assert await find_reached(connection, {key: 0}) == {}

    await fail(rig, 1, "y", error=DECLINED)
    assert (await until(rig.client, breaker_id, "OPEN")).last_error == DECLINED
    await until_counted(rig.client, without, 3)
    await until_beside(rig, without, "failed_otherwise", 0)
