"""Looks cost what there is, not what there was, and find all the same what stands out of place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
from hot.explained import Plan, explained
from lanes import names, queue, wanting
from waiting import eventually

from zart_server.engine.background.looking_back import LookingBack
from zart_server.engine.background.looks import DueLooks, ExpiredLooks
from zart_server.engine.dispatch.lease import lease_tasks
from zart_server.engine.dispatch.low_water import LowWater
from zart_server.store.changes import Changes
from zart_server.store.db import Database
from zart_server.store.due import Begin, due_lanes
from zart_server.store.leases import expired_leases
from zart_server.store.notifications import Notifications
from zart_server.store.pausing.rules import SHARE_PAUSE_LOCK

ROUND = 300
OUT_OF_PLACE = (
    "UPDATE zart.queue SET not_before = not_before - interval '1 hour' WHERE run_key ="
    " (SELECT max(run_key) FROM zart.queue)"
)
LATE = "UPDATE zart.leases SET lease_expires_at = statement_timestamp() - interval '{}'"


@asynccontextmanager
async def snapshot(url: str) -> AsyncIterator[None]:
    """Hold a snapshot open, as pg_dump does: nothing that dies meanwhile can be forgotten."""
    other = await asyncpg.connect(url)
    try:
        async with other.transaction(isolation="repeatable_read", readonly=True):
            await other.fetchval("SELECT count(*) FROM zart.lanes")
            yield
    finally:
        await other.close()


def blocks(plan: Plan) -> int:
    """Return how many pages a statement touched: what is dead was looked up on one too."""
    top = plan.nodes[0]
    return int(top["Shared Hit Blocks"] + top["Shared Read Blocks"])


async def leased(store: Database, low_water: LowWater, count: int) -> set[tuple[str, int]]:
    async with store.transaction(first=SHARE_PAUSE_LOCK) as tx:
        return names(await lease_tasks(tx, wanting(count), low_water))


async def test_a_snapshot_held_open_makes_nothing_dearer(
    store: Database, zart_database: str
) -> None:
    low_water = LowWater(timedelta(0))
    due, expired = DueLooks(low_water, LookingBack(share=0)), ExpiredLooks(LookingBack(share=0))
    found: list[list[int]] = []
    async with snapshot(zart_database):
        for number in range(5):
            await queue(store, 1, ROUND, f"round-{number}")
            assert len(await leased(store, low_water, ROUND)) == ROUND
            async with store.transaction() as tx:
                await tx.execute(LATE.format("10 seconds"))
                await tx.execute("DELETE FROM zart.leases")
            async with store.autocommit() as tx:
                await due.look(tx, ["t"])
                await expired.look(tx)
            async with explained(store, first=SHARE_PAUSE_LOCK) as tx:
                looks = tx.tx
                await due.look(looks, ["t"])
                await expired.look(looks)
                await lease_tasks(looks, wanting(10), low_water)
                firsts = [
                    next(plan for plan in tx.plans if what in plan.sql)
                    for what in ("GREATEST(EXTRACT", "lease_expires_at <=", "quotas")
                ]
                found.append([blocks(plan) for plan in firsts])
        async with explained(store) as tx:
            await due_lanes(tx.tx, ["t"], Begin())
            await expired_leases(tx.tx, 500)
            from_the_heads = [blocks(plan) for plan in tx.plans]

    assert all(last <= first + 2 for first, last in zip(found[0], found[-1], strict=True))
    assert min(from_the_heads) > 2 * max(found[-1])  # what was spared


async def test_what_is_due_before_the_marks_is_found(store: Database) -> None:
    low_water = LowWater(timedelta(0))
    due = DueLooks(low_water, LookingBack(share=0))
    await queue(store, 1, 5)
    for _ in range(3):
        assert len(await leased(store, low_water, 1)) == 1
        async with store.autocommit() as tx:
            await due.look(tx, ["t"])
    async with store.transaction() as tx:
        await tx.execute(OUT_OF_PLACE)
    async with store.autocommit() as tx:
        await due.look(tx, ["t"])

    assert await leased(store, low_water, 1) == {("x-4", 0)}


async def test_what_is_a_little_late_is_found_while_all_of_the_past_takes_long(
    store: Database,
) -> None:
    low_water = LowWater(timedelta(0))
    back = LookingBack(share=10**6)
    due = DueLooks(low_water, back)
    await queue(store, 1, 1)
    for _ in range(3):
        async with store.autocommit() as tx:
            await due.look(tx, ["t"])
    at = datetime.now(UTC)
    back.looked((None, at), 0.03)  # it rests for hours, and goes on piece by piece then
    assert back.is_dear
    async with store.transaction() as late:
        await late.execute(OUT_OF_PLACE.replace("1 hour", "5 seconds"))

    async def is_found() -> bool:
        async with store.autocommit() as connection:
            lanes = await due.look(connection, ["t"])
        return any(lane.cursor[0] < at - timedelta(seconds=4) for lane in lanes)

    await eventually(is_found)


async def test_a_lease_that_ended_before_the_mark_is_found(store: Database) -> None:
    expired = ExpiredLooks(LookingBack(share=0))
    await queue(store, 1, 1)
    await leased(store, LowWater(), 1)
    async with store.autocommit() as tx:
        assert (await expired.look(tx)).leases == []
        await tx.execute(LATE.format("1 hour"))
        assert len((await expired.look(tx)).leases) == 1


async def test_a_lease_that_cannot_be_swept_yet_is_found_again(store: Database) -> None:
    expired = ExpiredLooks(LookingBack(share=0))
    await queue(store, 1, 2)
    await leased(store, LowWater(), 2)
    async with store.autocommit() as tx:
        await expired.look(tx)
        await tx.execute(LATE.format("1 second"))
        for _ in range(3):
            assert len((await expired.look(tx)).leases) == 2


async def test_the_past_is_gone_through_without_gaps_in_pieces_that_are_quick() -> None:
    """As while all that died since yesterday is read too: an hour takes a second."""
    mark = datetime(2026, 1, 2, tzinfo=UTC)
    assert LookingBack().piece(None) is None
    dead_since = mark - timedelta(hours=6)
    back = LookingBack(share=0)
    took: list[float] = []
    reached = [mark]
    for _ in range(1000):
        piece = back.piece(mark)
        assert piece is not None
        since, before = piece
        assert before == reached[-1]
        begin = dead_since if since is None else max(since, dead_since)
        took.append(max(before - begin, timedelta(0)).total_seconds() / 3600)
        back.looked(piece, took[-1])
        reached.append(mark if since is None else since)

    assert took[0] == 6.0  # that it takes long could not be known
    assert max(took[1:]) < 0.05
    assert reached.count(mark) >= 3  # it began anew each time


async def test_other_servers_hear_where_tasks_were_put_back() -> None:
    heard: list[Changes] = []
    one, other = (
        Notifications("postgresql://localhost/zart", heard.append, lambda: None, lambda: False)
        for _ in range(2)
    )
    changes = Changes()
    changes.queued("t", "h")
    later = datetime(2026, 1, 2, tzinfo=UTC), 7
    changes.put_back("t", "h", 1, later)
    changes.put_back("t", "h", 1, (later[0], 6))
    other._hear(None, 0, "", one._payload(changes))

    assert heard == [changes]
    assert heard[0].cursors == {("t", "h"): (1, (later[0], 6))}
