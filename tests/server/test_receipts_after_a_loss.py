"""A database is back at an earlier moment: what was leased after it is on no receipt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from rig import Rig
from server.test_backup import LINES, QUERIES, restored_url, run
from server.test_failover import cut_off, fail_over
from waiting import GIVE_UP

import zart
from zart.testing.server import serving
from zart_server.embedded import postgres

__all__ = ["restored_url"]  # a fixture
LOST = r"the database was restored, or failed over .*: what was leased shortly before may be lost"


@asynccontextmanager
async def rig_of(url: str, database: str = "") -> AsyncIterator[Rig]:
    """A server of a database, whose URL may be one of several, and its client."""
    with serving(url) as server:
        async with zart.connect(server.address, timeout=GIVE_UP) as client:
            db = await asyncpg.connect(database or url)
            yield Rig(client, db)
            db.terminate()


async def paused(rig: Rig) -> str:
    """Pause a step that is ready; returns the rule's id."""
    rule = await rig.client.pause(task_name="t")
    await rig.start("x", {"a": ()})
    assert await rig.lease() == []
    return rule.rule_id


async def resumed(rig: Rig, rule_id: str) -> None:
    """End the rule, and have the step run."""
    await rig.client.resume(rule_id=rule_id)
    await rig.complete(await rig.lease_one("a", "x"))


async def assert_unproven(rig: Rig, rule_id: str) -> None:
    """The rule stands again, and so for all the database knows it always did."""
    assert (await rig.client.get_pause_rule(rule_id)).status == "ACTIVE"
    receipt = await rig.client.verify_pause_rule(rule_id)
    assert (receipt.clean, receipt.violations) == (False, ())
    with pytest.raises(zart.errors.PauseUnproven, match=LOST):
        receipt.raise_unless_clean()


async def test_a_replica_that_had_not_heard_of_the_rules_end_proves_nothing(tmp_path: Path) -> None:
    with postgres.running(tmp_path / "primary") as primary:
        async with rig_of(primary.url) as rig:
            rule_id = await paused(rig)
            over = await rig.client.pause(task_name="other")
            await rig.client.resume(rule_id=over.rule_id)
    with cut_off(tmp_path) as pair:
        async with rig_of(pair.url, pair.primary.url) as rig:
            await resumed(rig, rule_id)

            await fail_over(pair, rig)

            await assert_unproven(rig, rule_id)
            assert (await rig.client.verify_pause_rule(over.rule_id)).clean  # it had ended before


async def test_nor_does_a_backup(
    rig: Rig, zart_database: str, restored_url: str, tmp_path: Path
) -> None:
    dump, restore = LINES
    rule_id = await paused(rig)
    await asyncio.to_thread(run, dump, tmp_path, ZART_DATABASE_URL=zart_database)
    await resumed(rig, rule_id)

    await asyncio.to_thread(run, restore, tmp_path, RESTORED_URL=restored_url)
    async with rig_of(restored_url) as restored:
        await assert_unproven(restored, rule_id)


async def test_a_postgresql_that_crashed_has_all_that_was_committed(tmp_path: Path) -> None:
    with postgres.running(tmp_path / "pg") as one:
        async with rig_of(one.url) as rig:
            rule_id = await paused(rig)
        one.process.kill()
        one.process.wait()
    with postgres.running(tmp_path / "pg") as one:
        async with rig_of(one.url) as rig:
            assert (await rig.client.verify_pause_rule(rule_id)).clean


async def test_of_a_copy_of_the_files_somebody_has_to_tell(tmp_path: Path) -> None:
    """It looks like the same PostgreSQL started again, which lacks nothing."""
    *_, tell, _ = QUERIES
    with postgres.running(tmp_path / "pg") as one:
        async with rig_of(one.url) as rig:
            rule_id = await paused(rig)
    with postgres.running(tmp_path / "pg") as one:
        await asyncio.to_thread(run, tell, tmp_path, RESTORED_URL=one.url)
        async with rig_of(one.url) as rig:
            await assert_unproven(rig, rule_id)
