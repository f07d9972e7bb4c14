"""However many rules are over at once, they end some at a time, and between these others go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from waiting import GIVE_UP, eventually

from zart_server.engine.operations.expire import AT_ONCE, expire
from zart_server.store.connection import Connection
from zart_server.store.db import Database
from zart_server.store.pausing import lock
from zart_server.store.pausing.lock import seize_pause_lock
from zart_server.store.pausing.releases import standing_releases
from zart_server.store.pausing.rules import share_pause_lock

# Rules of which the last was over first; each but the fourth is to be released, at its own rate.
OVER = """
    INSERT INTO zart.pause_rules (rule_id, task_name, everything, created_by, reason, epoch,
        expires_at, expiry_rate, incident)
    SELECT 'pr-' || n, 't-' || n, false, 'op', '', n, now() - n * interval '1 minute',
        CASE WHEN n % 4 > 0 THEN n END, 'inc-' || n FROM generate_series($1::int, $2) n
"""
ENDED = "SELECT substr(rule_id, 4)::int FROM zart.pause_rules WHERE {} ORDER BY 1"
DELETED, RELEASING = (
    "deleted_at IS NOT NULL AND expired",
    "deleted_at IS NULL AND expires_at IS NULL",
)
RECORDED = """
    SELECT substr(rule_id, 4)::int, (made ->> 'rate_per_second')::float8, triggered_by, incident
    FROM zart.operations WHERE kind = 'expire' ORDER BY 1
"""


async def add(store: Database, last: int, first: int = 1) -> None:
    """Add rules that are over, by their numbers."""
    async with store.autocommit() as connection:
        await connection.execute(OVER, first, last)


async def end_some(store: Database) -> int:
    """End as many as one transaction does; return how many."""
    async with store.autocommit() as connection:
        return await expire(connection)


async def rules(store: Database, which: str) -> list[int]:
    """Return the numbers of rules."""
    async with store.autocommit() as connection:
        return [row[0] for row in await connection.fetch(ENDED.format(which))]


async def test_a_transaction_ends_some_of_them_the_earliest_first(store: Database) -> None:
    number = 2 * AT_ONCE + 10
    await add(store, number)

    for left in (number, number - AT_ONCE, number - 2 * AT_ONCE, 0):
        over = await rules(store, f"NOT ({DELETED} OR {RELEASING})")
        assert over == list(range(1, left + 1))
        assert await end_some(store) == min(left, AT_ONCE)
    assert await rules(store, DELETED) == [n for n in range(1, number + 1) if n % 4 == 0]


async def test_each_is_released_at_its_own_rate_and_on_record_once(store: Database) -> None:
    await add(store, 8)
    assert await end_some(store) == 8

    released = [n for n in range(1, 9) if n % 4]
    assert await rules(store, RELEASING) == released
    async with store.autocommit() as connection:
        assert [r.rate for r in (await standing_releases(connection)).values()] == released
        recorded = [tuple(row) for row in await connection.fetch(RECORDED)]
    assert recorded == [(n, n if n % 4 else None, "expiry", f"inc-{n}") for n in range(1, 9)]


async def test_what_is_sent_does_not_grow_with_their_number(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def counting(send: Any) -> Any:
        async def counted(connection: Connection, sql: str, *args: object) -> Any:
            sent.append(sql)
            return await send(connection, sql, *args)

        return counted

    for name in ("fetch", "fetchval", "fetchrow", "execute"):
        monkeypatch.setattr(Connection, name, counting(getattr(Connection, name)))
    counts = []
    for first, last in ((1, 4), (5, 104)):
        await add(store, last, first)
        sent.clear()
        assert await end_some(store) == last - first + 1
        counts.append(len(sent))
    assert counts[0] == counts[1]


async def test_the_lock_is_not_asked_for_where_no_rule_is_left(store: Database) -> None:
    async with store.transaction() as tx:
        await share_pause_lock(tx)  # for as long as that takes
        assert await end_some(store) == 0


async def test_of_all_servers_one_is_at_it_and_others_have_the_lock_meanwhile(
    store: Database,
) -> None:
    await add(store, AT_ONCE + 10)
    async with store.transaction() as resting:
        await resting.execute(lock.IN_TURN.split(";")[0])
        ending = asyncio.create_task(end_some(store))
        await eventually(lambda: is_waiting(resting))
        async with store.autocommit() as connection:
            await seize_pause_lock(connection, GIVE_UP)
        assert not ending.done()
    assert await ending == AT_ONCE


async def test_few_wait_for_no_turn(store: Database) -> None:
    await add(store, AT_ONCE)
    async with store.transaction() as resting:
        await resting.execute(lock.IN_TURN.split(";")[0])
        assert await end_some(store) == AT_ONCE


async def is_waiting(connection: Connection) -> bool:
    """Return whether another session waits for an advisory lock."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
    )
    return found
