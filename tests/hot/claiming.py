"""Claims past rules that settle, and looks for what is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hot.explained import Explained
from hot.pausing import QUEUED, paused
from hot.scenario import BATCH, scenario
from zart_server.domain.model import PauseScope
from zart_server.store.claims import Claim, claim, claim_past_settling
from zart_server.store.due import Begin, are_any_due, due_before, due_lanes
from zart_server.store.leases import expired_leases
from zart_server.store.queue import lock_queued

WANTED = Claim(["many"], None, BATCH, "d", "", 30)


async def without_the_dead(tx: Explained) -> None:
    """Have what died at the heads of the lanes be read by now: it is read but once."""
    await due_lanes(tx.tx, ("many",), Begin())
    await expired_leases(tx.tx, BATCH)
    tx.plans.clear()


@scenario()
async def peeking(tx: Explained) -> None:
    await without_the_dead(tx)
    assert (await are_any_due(tx.tx, ("many",), None, Begin()))[1]
    assert not (await are_any_due(tx.tx, ("many",), ("b",), Begin()))[1]
    await due_lanes(tx.tx, ("many",), Begin())
    await expired_leases(tx.tx, BATCH)


@scenario()
async def looking_back(tx: Explained) -> None:
    await without_the_dead(tx)
    now = datetime.now(UTC)
    begin = Begin({}, now)
    found = await due_before(tx.tx, ("many",), begin, None, now)
    assert len(found.lanes) == 1
    hour = now - timedelta(hours=1)
    assert not (await due_before(tx.tx, ("many",), begin, hour - timedelta(hours=1), hour)).lanes
    await expired_leases(tx.tx, BATCH, None, now)


async def _many_lanes(tx: Explained) -> None:
    """Have a task with so many lanes that only those are looked up which have something."""
    await tx.sql.execute(
        "INSERT INTO zart.lanes (task_name, handler)"
        " SELECT 'many', 'unused-' || n FROM generate_series(1, 1000) n"
    )


@scenario()
async def looking_at_many_lanes(tx: Explained) -> None:
    await _many_lanes(tx)
    await without_the_dead(tx)
    now = datetime.now(UTC)
    assert (await are_any_due(tx.tx, ("many",), None, Begin()))[1]
    assert len((await due_lanes(tx.tx, ("many",), Begin())).lanes) == 1
    assert len((await due_before(tx.tx, ("many",), Begin({}, now), None, now)).lanes) == 1


@scenario()
async def claiming_from_many_lanes(tx: Explained) -> None:
    await _many_lanes(tx)
    await without_the_dead(tx)
    found = await claim(tx.tx, WANTED, Begin())
    assert len(found.claimed) == BATCH


@scenario()
async def claiming_from_many_lanes_while_others_settle(tx: Explained) -> None:
    await _many_lanes(tx)
    await _claim(tx, PauseScope(None, None, "b"), (BATCH, 0))


@scenario()
async def locking_what_is_queued(tx: Explained) -> None:
    await lock_queued(tx.tx, list(range(20_001, 20_001 + BATCH)))


async def _claim(tx: Explained, scope: PauseScope, expected: tuple[int, int]) -> None:
    await paused(tx, scope)
    claimed, moved = await claim_past_settling(tx.tx, WANTED, Begin())
    assert (len(claimed), moved) == expected


@scenario()
async def claiming_while_a_lane_settles(tx: Explained) -> None:
    await _claim(tx, PauseScope(None, "many", None), (0, 0))


@scenario()
async def claiming_while_others_settle(tx: Explained) -> None:
    await _claim(tx, PauseScope(None, None, "b"), (BATCH, 0))


@scenario()
async def claiming_while_a_finished_one_settles(tx: Explained) -> None:
    await _claim(tx, PauseScope("x-1", None, None), (BATCH, 0))


@scenario()
async def claiming_while_an_execution_settles(tx: Explained) -> None:
    await _claim(tx, PauseScope(QUEUED, None, None), (BATCH, 1))
