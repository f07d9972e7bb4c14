"""A newer version of the fingerprint is used once all servers know it and the dead are regrouped."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest
from batching import dead_steps, until_batch
from invariants import broken
from regrouping import (
    begin_with_the_first,
    die,
    group,
    make_older,
    new_kind,
    older_server,
    on,
    turn,
    turns,
)
from rig import Rig, eventually

import zart
from zart import ExecutionFilter
from zart.testing.server import ServerUnderTest, serving
from zart_server.domain.errors import ZartError
from zart_server.domain.fingerprint import NEWEST
from zart_server.store.db import Database

NEW, OLD = group("K", NEWEST), {order: group(order, 1) for order in ("K", "M")}
TEMPLATE = "order <id> is gone"


async def _found(rig: Rig, error_group_id: str) -> set[str]:
    """Return what a filter by a group finds, in each of the ways that there are."""
    wanted = ExecutionFilter(error_group_id=error_group_id)
    listed = {one.execution_id async for one in rig.client.list_executions(wanted)}
    looked = {
        one.execution_id
        async for one in rig.client.list_executions(
            ExecutionFilter(error_group_id=error_group_id, error_contains="is gone")
        )
    }
    groups = [one async for one in rig.client.list_error_groups(wanted)]
    assert listed == looked
    assert listed == {name for one in groups for name in one.sample_execution_ids}
    assert len(listed) == sum(one.dead_steps for one in groups)
    with contextlib.nullcontext() if listed else pytest.raises(zart.errors.NothingSelected):
        created = await rig.client.create_batch(zart.RetryStep(), filter=wanted, validate_only=True)
        assert created.plan is not None
        assert created.plan.items == len(listed)
    return listed


async def _groups(rig: Rig) -> dict[str, tuple[str, int]]:
    return {
        one.error_group_id: (one.template, one.dead_steps)
        async for one in rig.client.list_error_groups()
    }


async def _kinds_with_former(rig: Rig) -> int:
    return int(await rig.db.fetchval("SELECT count(former_id) FROM zart.error_groups"))


async def test_either_id_finds_both_and_then_the_new_one(
    rig: Rig, zart_server: ServerUnderTest, zart_database: str
) -> None:
    await begin_with_the_first(rig, zart_server)
    await die(rig, "x", "K")
    await die(rig, "y", "M")
    before = {one.error_group_id: one async for one in rig.client.list_error_groups()}
    async with older_server(zart_database):
        await turn(zart_server)
        await die(rig, "z", "M")
        assert {key: n for key, (_, n) in (await _groups(rig)).items()} == {
            OLD["K"]: 1,
            OLD["M"]: 2,
        }
        with pytest.raises(zart.errors.ErrorGroupNotFound):
            await _found(rig, NEW)

    await turn(zart_server)
    await die(rig, "new", "K")

    assert await _groups(rig) == {NEW: (TEMPLATE, 4)}
    assert await _found(rig, NEW) == {"x", "y", "z", "new"}
    assert await _found(rig, OLD["K"]) == {"x"}
    assert await _found(rig, OLD["M"]) == {"y", "z"}
    (now,) = await rig.client.list_error_groups()
    assert now.first_seen == min(one.first_seen for one in before.values() if one.first_seen)
    assert now.sample_execution_ids == ("new", "z", "y", "x")

    await make_older(rig, days=2)
    await turn(zart_server)

    assert await _groups(rig) == {NEW: (TEMPLATE, 4)}
    assert await _found(rig, NEW) == {"x", "y", "z", "new"}
    assert await _found(rig, OLD["M"]) == set()
    assert await _kinds_with_former(rig) == 0
    (after,) = await rig.client.list_error_groups()
    assert replace(after, first_seen=now.first_seen) == now
    # Of one kind: when that was written down, a moment after the first death.
    noted = await rig.db.fetchval("SELECT min(first_seen) FROM zart.error_groups")
    assert after.first_seen == noted
    assert await broken(rig.db) == {}


async def test_what_was_chosen_by_the_old_id_is_done_after_it_changed(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await begin_with_the_first(rig, zart_server)
    await die(rig, "x", "K")
    await die(rig, "y", "M")
    wanted = ExecutionFilter(error_group_id=OLD["M"])
    plan = await rig.client.create_batch(zart.RetryStep(), filter=wanted, validate_only=True)

    await turn(zart_server)

    token = plan.plan_token
    created = await rig.client.create_batch(zart.RetryStep(), filter=wanted, plan_token=token)
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert await _found(rig, NEW) == {"x"}
    assert await _found(rig, OLD["M"]) == set()
    assert await broken(rig.db) == {}


async def test_a_server_that_comes_meanwhile_keeps_the_old_one_in_use(
    rig: Rig, zart_server: ServerUnderTest, zart_database: str
) -> None:
    """All is regrouped, and nobody sees it before the new one is in use."""
    await begin_with_the_first(rig, zart_server)
    await die(rig, "x", "K")
    before = await _groups(rig)
    async with contextlib.AsyncExitStack() as older:
        async with rig.locked(*new_kind("K")):
            over = asyncio.Event()
            regrouping = asyncio.create_task(turns(zart_server, over))
            await rig.until_waiting()
            await older.enter_async_context(older_server(zart_database))
            over.set()
        await regrouping
        await die(rig, "y", "K")

        assert await _kinds_with_former(rig) == 1
        ((old, (template, _)),) = before.items()
        assert await _groups(rig) == {old: (template, 2)}
        assert await _found(rig, old) == {"x", "y"}
    await turn(zart_server)
    assert await _groups(rig) == {NEW: (TEMPLATE, 2)}
    assert await _found(rig, NEW) == await _found(rig, OLD["K"]) == {"x", "y"}


async def test_what_was_cut_off_is_done_by_the_next(rig: Rig, zart_server: ServerUnderTest) -> None:
    await begin_with_the_first(rig, zart_server)
    for name in "xyz":
        await die(rig, name, "M")
    async with rig.locked(*new_kind("M")):
        one_turn = on(zart_server, zart_server.running.runtime.regrouping.turn())
        regrouping = asyncio.create_task(one_turn)
        await rig.until_waiting()
        ended = await rig.db.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        assert ended == 1
        with pytest.raises(ZartError):
            await regrouping
        assert await rig.db.fetchval("SELECT count(DISTINCT group_key) FROM zart.dead_steps") == 1
        assert list(await _groups(rig)) == [OLD["M"]]

    await turn(zart_server)

    assert await _found(rig, NEW) == await _found(rig, OLD["M"]) == {"x", "y", "z"}
    assert await broken(rig.db) == {}


async def test_nobody_who_operates_waits_for_what_it_waits_for(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """A retry takes the step off the list of the dead while it holds the pause lock."""
    await begin_with_the_first(rig, zart_server)
    for name in "xy":
        await die(rig, name, "M")
    async with rig.locked(*new_kind("M")):
        over = asyncio.Event()
        regrouping = asyncio.create_task(turns(zart_server, over))
        await rig.until_waiting()
        await rig.client.retry_step("x", "a")
        await rig.client.restart("y")
        await rig.until_waiting()  # as it did all the while
        over.set()
    await regrouping
    assert await rig.statuses() == {"a": "SCHEDULED"}
    assert await broken(rig.db) == {}


async def test_what_others_have_locked_follows(rig: Rig, zart_server: ServerUnderTest) -> None:
    """Nobody is waited for: what is passed over, and who dies by the older version, is next."""
    await begin_with_the_first(rig, zart_server)
    for name in "xyz":
        await die(rig, name, "M")
    async with rig.locked("SELECT FROM zart.dead_steps ORDER BY run_key LIMIT 1 FOR UPDATE"):
        await turn(zart_server)
        assert await _found(rig, OLD["M"]) == {"x", "y", "z"}
        assert len(await _groups(rig)) == 2
    zart_server.running.runtime.regrouping._db.fingerprint.number = 1  # as one that is behind
    await die(rig, "late", "M")

    await turn(zart_server)

    assert await _groups(rig) == {NEW: (TEMPLATE, 4)}
    assert await _found(rig, NEW) == await _found(rig, OLD["M"]) == {"x", "y", "z", "late"}


async def test_servers_and_operators_are_not_in_each_others_way(
    rig: Rig, zart_server: ServerUnderTest, zart_database: str
) -> None:
    await begin_with_the_first(rig, zart_server)
    await dead_steps(rig.client, 700)
    (old,) = await _groups(rig)
    with serving(zart_database) as other:  # which begins by itself

        async def retry() -> None:
            for n in range(40):
                await rig.client.retry_step(f"x-{n}", "a")

        await asyncio.gather(turn(zart_server), turn(other), retry(), turn(zart_server))

        async def is_in_use() -> bool:
            await turn(other)
            await turn(zart_server)
            return list(await _groups(rig)) == [old.replace("eg-1", f"eg-{NEWEST}")]

        await eventually(is_in_use)
    (found,) = await rig.client.list_error_groups()
    assert found.dead_steps == 660
    assert await rig.db.fetchval("SELECT count(DISTINCT group_key) FROM zart.dead_steps") == 1
    assert await broken(rig.db) == {}


async def test_a_version_that_it_does_not_know_is_left_to_others(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await begin_with_the_first(rig, zart_server)
    await die(rig, "x", "K")
    await rig.db.execute("UPDATE zart.fingerprint_version SET version = $1", NEWEST + 1)

    await turn(zart_server)

    assert list(await _groups(rig)) == [OLD["K"]]
    await die(rig, "y", "K")
    assert set(await _groups(rig)) == {OLD["K"], NEW}

    begun = await Database.open(zart_server.database_url, pool_size=1)
    async with begun.autocommit() as connection:  # before any turn
        assert connection.fingerprint.number == NEWEST
    await begun.close()
