"""What was leased of a release stands no longer, however much of it there is."""

from __future__ import annotations

import pytest
from releasing import paused
from rig import Rig, eventually

from zart_server.engine.background import closing, releases

STEPS = {f"s{n}": () for n in range(200)}
MANY = 50_000
# As if they had been let go, and leased.
LEASED = """
    INSERT INTO zart.released_steps (rule_key, run_key, step_no, attempt, token_from)
    SELECT rule_key, 1000000 + n, 0, 1, 0 FROM zart.pause_releases, generate_series(1, $1) n
"""
STANDING = "SELECT count(*) FROM zart.released_steps WHERE token_until IS NULL"
# For this session: others may wait for each other a moment.
WAITING = """SELECT pid, query_start FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()
        AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"""
WENT = "SELECT released_steps FROM zart.pause_releases"


async def until_went(rig: Rig, count: int) -> None:
    """Wait until a release has let so many steps go."""

    async def have() -> bool:
        return bool(await rig.db.fetchval(WENT) >= count)

    await eventually(have)


async def test_all_of_it_is_closed_however_seldom_the_line_is_counted(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "_COUNT_EVERY", 3600.0)
    rule_id = await paused(rig)
    await rig.start("x", STEPS)
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.01)
    await until_went(rig, 1)
    await rig.db.execute(LEASED, MANY)

    async def one_stands() -> bool:
        return bool(await rig.db.fetchval(STANDING) == 1)

    await eventually(one_stands)  # the one that is queued
    of_one_transaction = await rig.db.fetchval(
        "SELECT max(n) FROM (SELECT count(*) AS n FROM zart.released_steps"
        " WHERE token_until IS NOT NULL GROUP BY xmin::text) t"
    )
    assert of_one_transaction == closing._CLOSED
    assert MANY > 2 * closing._FOUND


async def test_nobody_waits_for_it_where_others_have_rows_locked(rig: Rig) -> None:
    """Nor does it wait for them: it shares the pause lock."""
    rule_id = await paused(rig)
    await rig.start("x", STEPS)
    await rig.client.resume(rule_id=rule_id, rate_per_second=10)
    await until_went(rig, 1)
    async with rig.locked("SELECT FROM zart.released_steps FOR UPDATE"):
        assert len(await rig.lease(1)) == 1  # whose row is locked
        await until_went(rig, await rig.db.fetchval(WENT) + 20)  # it has looked by then
        await rig.db.execute("SELECT pg_stat_clear_snapshot()")
        assert await rig.db.fetch(WAITING) == []
