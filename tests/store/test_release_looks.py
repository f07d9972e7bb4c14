"""Releases cost what there is, not what they have let go, and leave nothing behind all the same."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from hot.explained import explained
from lanes import queue
from store.releasing_rule import let_go, seen_over
from store.test_looks import blocks, snapshot
from waiting import GIVE_UP, eventually

from zart_server.domain.commands import Caller
from zart_server.domain.model import PauseScope
from zart_server.engine.background import line_marks, pause_sweeps, release_pieces
from zart_server.engine.background.line_marks import LineMarks
from zart_server.engine.background.pause_sweeps import PauseSweeps
from zart_server.engine.background.releases import Releases
from zart_server.engine.operations import release as release_operation
from zart_server.engine.operations.let_go import LockedLine, lock_line
from zart_server.engine.operations.release import _end, _seen_over
from zart_server.store.connection import Tx
from zart_server.store.db import Database
from zart_server.store.pausing.ending import delete_rules
from zart_server.store.pausing.lock import seize_pause_lock
from zart_server.store.pausing.paused import PausedAt
from zart_server.store.pausing.releases import has_line
from zart_server.store.pausing.rules import SEIZE_PAUSE_LOCK
from zart_server.store.pausing.work import PauseWork, end_releasing

ROUND = 300
ASIDE = "UPDATE zart.held SET rule_key = rule_key + 1, not_before = not_before - interval '1 hour'"


async def test_under_the_lock_nothing_is_read_of_what_had_waited(
    store: Database, zart_database: str, rule_key: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release_operation, "_LATE", timedelta(0))  # all is of the last seconds here
    async with snapshot(zart_database):
        for number in range(3):
            await queue(store, 1, ROUND, f"round-{number}")
            assert await let_go(store, Releases(store), ROUND) == ROUND
        seen = await seen_over(store, rule_key)
        async with explained(store, first=SEIZE_PAUSE_LOCK) as tx:
            assert not await has_line(tx.tx, rule_key)
            assert await _end(tx.tx, rule_key, seen)
            whole, under_the_lock = [
                blocks(plan) for plan in tx.plans if plan.function.endswith(".has_line")
            ]
    assert whole > 2 * under_the_lock


async def resumed(store: Database) -> None:
    """Have the rule end at once: what is in its line is to be queued by a pause sweep."""
    async with store.autocommit() as connection:
        tx = await seize_pause_lock(connection, GIVE_UP)
        assert await delete_rules(tx, "pr-1", PauseScope(), Caller())


async def left(store: Database) -> tuple[int, int]:
    """Return how many steps are paused, and how much is to be done for rules."""
    async with store.autocommit() as connection:
        counted = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM zart.held), (SELECT count(*) FROM zart.pause_work)"
        )
    assert counted is not None
    return counted[0], counted[1]


async def test_a_resume_looks_at_its_whole_line_at_the_end_of_a_pass_only(
    store: Database, rule_key: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pause_sweeps, "_BATCHES", 1)
    monkeypatch.setattr(release_pieces, "_BATCH", 100)
    found: list[int] = []

    async def noted(tx: Tx, work: PauseWork) -> None:
        found.append(await tx.fetchval("SELECT count(*) FROM zart.held"))
        await end_releasing(tx, work)

    monkeypatch.setattr(pause_sweeps, "end_releasing", noted)
    await queue(store, 1, ROUND)
    await resumed(store)
    sweeps = PauseSweeps(store)
    turns = 0
    while await sweeps.turn() is not None:
        turns += 1
    assert (turns, found) == (4, [0])
    assert await left(store) == (0, 0)


async def test_what_a_pass_had_to_leave_is_queued_by_a_later_one(
    store: Database, zart_database: str, rule_key: int
) -> None:
    await queue(store, 1, 3)
    await resumed(store)
    sweeps = PauseSweeps(store)
    other = await asyncpg.connect(zart_database)
    try:
        async with other.transaction():
            await other.execute("SELECT FROM zart.runs ORDER BY run_key LIMIT 1 FOR UPDATE")
            for _ in range(3):
                assert await sweeps.turn() is not None
            assert await left(store) == (1, 1)
    finally:
        await other.close()
    while await sweeps.turn() is not None:
        pass
    assert await left(store) == (0, 0)


def resting() -> LineMarks:
    """Marks by which only the first look is at the head: each takes too long."""
    return LineMarks(slow=0.0, share=10**6)


async def blocks_of_a_look(store: Database, rule_key: int, after: PausedAt | None) -> int:
    """Return how many pages are touched to find the oldest steps of a rule."""
    async with explained(store) as tx:
        await lock_line(tx.tx, rule_key, 10, None, after)
    return blocks(tx.plans[0])


async def test_a_piece_of_a_release_reads_nothing_of_what_went_before(
    store: Database, zart_database: str, rule_key: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_marks, "_LATE", timedelta(0))  # all is of the last seconds here
    sweep = Releases(store)
    sweep._marks = resting()
    found: list[int] = []
    async with snapshot(zart_database):
        for number in range(5):
            await queue(store, 1, ROUND, f"round-{number}")
            assert await let_go(store, sweep, ROUND) == ROUND
            found.append(await blocks_of_a_look(store, rule_key, sweep._marks.begin(rule_key)))
        from_the_head = await blocks_of_a_look(store, rule_key, None)
    assert found[-1] <= found[0] + 2
    assert from_the_head > 2 * max(found)


async def test_what_comes_before_the_mark_goes_at_a_look_at_the_head(
    store: Database, rule_key: int
) -> None:
    """As what another rule hands over; until then the release is not over."""
    sweep = Releases(store)
    marks = sweep._marks = resting()
    await queue(store, 1, 3, "early")
    async with store.transaction() as tx:
        await tx.execute(ASIDE)
    await queue(store, 1, 3, "late")
    assert await let_go(store, sweep, ROUND) == 3
    async with store.transaction() as tx:
        await tx.execute("UPDATE zart.held SET rule_key = rule_key - 1")

    assert await let_go(store, sweep, ROUND) == 0
    async with store.autocommit() as connection:
        assert await _seen_over(connection, rule_key) is None
    marks._rests_until.clear()
    assert await let_go(store, sweep, ROUND) == 3


async def test_no_mark_is_before_what_becomes_ready_now() -> None:
    """Of what waits for a backoff in ten minutes only a look at the head would see what is earlier."""
    marks, now = LineMarks(), datetime(2026, 1, 2, tzinfo=UTC)
    for end in (None, PausedAt(now, 3, 1)):
        step = PausedAt(now + timedelta(minutes=10), 7, 1)
        marks.looked(1, None, LockedLine([], step, 60.0), end, now)
        begin = marks.begin(1)
        assert begin is not None
        assert begin.not_before < now
        marks._rests_until.clear()


async def test_as_long_as_looks_are_quick_each_is_at_the_head() -> None:
    marks, now = LineMarks(), datetime(2026, 1, 2, tzinfo=UTC)
    marks.looked(1, None, LockedLine([], None, 0.001), None, now)
    assert marks.begin(1) is None
    step = PausedAt(now - timedelta(minutes=1), 7, 1)
    marks.looked(1, None, LockedLine([], step, 60.0), None, now)
    begin = marks.begin(1)
    assert begin is not None
    assert begin < step  # it may go next
    marks.looked(1, begin, LockedLine([1], step, 60.0), step, now)
    assert marks.begin(1) == step
    marks.keep_only([2])
    assert marks.begin(1) is None


async def test_what_was_locked_does_not_wait_for_long_where_nothing_else_is_left(
    store: Database, zart_database: str, rule_key: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at the head may have seemed slow only since the server was busy."""
    monkeypatch.setattr(line_marks, "_LATE", timedelta(0))  # all is of the last seconds here
    sweep = Releases(store)
    sweep._marks = resting()
    await queue(store, 1, 3)
    other = await asyncpg.connect(zart_database)
    try:
        async with other.transaction():
            await other.execute("SELECT FROM zart.runs ORDER BY run_key LIMIT 1 FOR UPDATE")
            assert await let_go(store, sweep, ROUND) == 2
    finally:
        await other.close()

    async def goes() -> bool:
        return await let_go(store, sweep, ROUND) == 1

    await eventually(goes)


async def test_the_head_is_looked_at_no_sooner_where_nothing_was_locked() -> None:
    marks, now = resting(), datetime(2026, 1, 2, tzinfo=UTC)
    step = PausedAt(now - timedelta(minutes=1), 7, 1)
    for passes_over in (False, True):
        marks.looked(1, None, LockedLine([1], step, 0.001, passes_over), step, now)
        begin = marks.begin(1)
        assert begin is not None
        marks.looked(1, begin, LockedLine([], None, 0.0), None, now)
        rests = marks._rests_until[1] - time.monotonic()
        assert (rests < 1) == passes_over
