"""A pause sweep goes through the lanes in which tasks are queued, and through no empty one."""

from __future__ import annotations

import pytest
from lanes import queue
from waiting import GIVE_UP

from zart_server.domain.commands import Caller
from zart_server.domain.model import PauseScope
from zart_server.engine.background import pause_sweeps
from zart_server.engine.background.pause_sweeps import PauseSweeps
from zart_server.store.db import Database
from zart_server.store.pausing.lock import seize_pause_lock
from zart_server.store.pausing.rules import insert_rule
from zart_server.store.pausing.settling import lanes_to_settle
from zart_server.store.pausing.work import pause_work

EMPTY = "DELETE FROM zart.queue WHERE lane = $1"


async def pause_all(store: Database) -> int:
    """Add a rule of everything; gives its key."""
    scope = PauseScope(None, None, None, everything=True)
    async with store.autocommit() as connection:
        tx = await seize_pause_lock(connection, GIVE_UP)
        row = await insert_rule(tx, "pr-1", scope, None, caller=Caller())
    assert row is not None
    return row.rule_key


async def lanes_of(store: Database) -> list[int]:
    """Return all lanes."""
    async with store.autocommit() as connection:
        rows = await connection.fetch("SELECT lane FROM zart.lanes ORDER BY lane")
    return [row["lane"] for row in rows]


async def test_an_empty_lane_is_not_gone_through(store: Database) -> None:
    await queue(store, 4, 2)
    first, empty, *others = await lanes_of(store)
    async with store.autocommit() as connection:
        await connection.execute(EMPTY, empty)
    rule_key = await pause_all(store)

    async with store.transaction() as tx:
        assert await lanes_to_settle(tx, rule_key) == [first, *others]


async def test_a_lane_is_gone_through_whose_tasks_may_be_put_back(store: Database) -> None:
    await queue(store, 1, 2)
    (lane,) = await lanes_of(store)
    rule_key = await pause_all(store)

    async with store.transaction() as taking:
        await taking.execute(EMPTY, lane)
        async with store.transaction() as tx:
            assert await lanes_to_settle(tx, rule_key) == [lane]


async def test_a_rule_that_matches_empty_lanes_only_is_settled_in_one_turn(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pause_sweeps, "_BATCHES", 1)  # which one lane would take
    await queue(store, 4, 1)
    for lane in await lanes_of(store):
        async with store.autocommit() as connection:
            await connection.execute(EMPTY, lane)
    await pause_all(store)

    await PauseSweeps(store).turn()
    async with store.autocommit() as connection:
        assert await pause_work(connection) == []
