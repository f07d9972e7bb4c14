"""A release that was seen to be over ends only if it still is, once others are kept from leasing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from lanes import queue, wanting
from store.releasing_rule import RATE, let_go, seen_over
from waiting import GIVE_UP

from zart_server.domain.commands import Caller
from zart_server.domain.dispatch import Outcome, Released
from zart_server.engine.background.releases import Releases
from zart_server.engine.dispatch.lease import lease_tasks
from zart_server.engine.dispatch.low_water import LowWater
from zart_server.engine.dispatch.outcome_batch import find_batch
from zart_server.engine.dispatch.record_in_general import record_in_general
from zart_server.engine.operations.release import _end
from zart_server.store.db import Database
from zart_server.store.pausing.lock import seize_pause_lock
from zart_server.store.pausing.releases import begin_release
from zart_server.store.pausing.rules import SHARE_PAUSE_LOCK
from zart_server.store.pausing.updating import update_rule


async def ends(store: Database, rule_key: int, change: Callable[[], Awaitable[None]]) -> bool:
    """Have a release end that was seen to be over before a change; gives whether it did."""
    seen = await seen_over(store, rule_key)
    await change()
    async with store.autocommit() as connection:
        return await _end(await seize_pause_lock(connection, GIVE_UP), rule_key, seen)


async def becomes_ready(store: Database, _rule_key: int) -> None:
    await queue(store, 1, 1)


async def exempts_another(store: Database, rule_key: int) -> None:
    """As does one whose exemption is removed: its steps come into the line with their old places."""
    async with store.autocommit() as connection:
        tx = await seize_pause_lock(connection, GIVE_UP)
        assert await update_rule(tx, rule_key, ["x"], [], None)


async def begins_anew(store: Database, rule_key: int) -> None:
    async with store.autocommit() as connection:
        tx = await seize_pause_lock(connection, GIVE_UP)
        await begin_release(tx, rule_key, RATE, Caller())


async def leased_an_hour_after_it_was_ready(store: Database) -> Outcome:
    """Have the only step let go and leased; gives what its dispatcher says that stops."""
    await queue(store, 1, 1)
    assert await let_go(store, Releases(store), 1) == 1
    async with store.transaction(first=SHARE_PAUSE_LOCK) as tx:
        (task,) = await lease_tasks(tx, wanting(1), LowWater())
        await tx.execute("UPDATE zart.leases SET not_before = not_before - interval '1 hour'")
    return Outcome(task.task_id, task.lease_token, Released(None, not_begun=True))


async def given_back_unbegun(store: Database, _rule_key: int) -> None:
    """It stands in the line where it stood before, which is long ago."""
    outcome = await leased_an_hour_after_it_was_ready(store)
    async with store.transaction() as tx:
        await record_in_general(tx, await find_batch(tx, [outcome]))


@pytest.mark.parametrize(
    "change", [becomes_ready, exempts_another, begins_anew, given_back_unbegun]
)
async def test_what_changed_since_the_look_keeps_a_release_from_its_end(
    store: Database, rule_key: int, change: Callable[[Database, int], Awaitable[None]]
) -> None:
    assert not await ends(store, rule_key, lambda: change(store, rule_key))


async def test_what_is_in_the_line_of_another_does_not(store: Database, rule_key: int) -> None:
    async def moves() -> None:
        await given_back_unbegun(store, rule_key)
        async with store.transaction() as tx:
            await tx.execute("UPDATE zart.held SET rule_key = rule_key + 1")

    assert await ends(store, rule_key, moves)


async def test_nor_does_what_was_let_go_once_more(store: Database, rule_key: int) -> None:
    async def goes() -> None:
        await given_back_unbegun(store, rule_key)
        assert await let_go(store, Releases(store), 1) == 1

    assert await ends(store, rule_key, goes)


async def test_a_clock_that_went_back_keeps_it_from_its_end(store: Database, rule_key: int) -> None:
    seen = await seen_over(store, rule_key)
    later = seen._replace(now=seen.now + timedelta(hours=1))
    async with store.autocommit() as connection:
        assert not await _end(await seize_pause_lock(connection, GIVE_UP), rule_key, later)
    async with store.autocommit() as connection:
        assert await _end(await seize_pause_lock(connection, GIVE_UP), rule_key, seen)
