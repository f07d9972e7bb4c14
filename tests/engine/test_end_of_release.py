"""A release is over once its rule withholds nothing, and nothing that it matches is to be settled."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from patient import patient_database
from releasing import paused, until_released, until_status
from rig import Rig

from zart_server.engine.operations.release import end_release
from zart_server.store.db import Database

ONE = {"a": ()}
QUEUED = "SELECT FROM zart.queue FOR UPDATE"  # who settles rules passes over what is locked


@pytest.fixture
async def store(zart_database: str) -> AsyncIterator[Database]:
    """The database, as a server opens it."""
    database = await patient_database(zart_database)
    yield database
    await database.close()


async def ends(store: Database, rig: Rig, rule_id: str) -> bool:
    """Have a release end, if it is over, as a server does that found nothing left of it."""
    rule_key = await rig.db.fetchval(
        "SELECT rule_key FROM zart.pause_rules WHERE rule_id = $1", rule_id
    )
    async with store.autocommit() as connection:
        return await end_release(connection, rule_key)


async def test_what_is_exempt_no_more_is_still_to_be_let_go(store: Database, rig: Rig) -> None:
    rule_id = await paused(rig)
    await rig.client.update_pause_rule(rule_id, exempt=["x"])
    await rig.start("x", ONE)
    async with rig.locked(QUEUED):
        await rig.client.update_pause_rule(rule_id, unexempt=["x"])
        await rig.client.resume(rule_id=rule_id, rate_per_second=100)
        assert not await ends(store, rig, rule_id)

    await until_status(rig, rule_id, "RESUMED")
    assert await rig.db.fetchval("SELECT count(*) FROM zart.released_steps") == 1


async def test_so_is_what_was_taken_back_as_the_release_before_was_stopped(
    store: Database, rig: Rig
) -> None:
    rule_id = await paused(rig)
    await rig.start("x", ONE)
    await rig.start("y", ONE)
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.01)
    await until_released(rig, 1)
    async with rig.locked(QUEUED):
        await rig.client.stop_release(rule_id)
        await rig.client.cancel_execution("y")
        await rig.client.resume(rule_id=rule_id, rate_per_second=100)
        assert not await ends(store, rig, rule_id)

    over = await until_status(rig, rule_id, "RESUMED")
    assert over.release is not None
    assert over.release.released_steps == 1
    assert [t.execution_id for t in await rig.lease()] == ["x"]
