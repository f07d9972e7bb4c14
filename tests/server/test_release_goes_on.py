"""A release at a pace goes on by another server when the one that did it is killed."""

from __future__ import annotations

import signal
from itertools import combinations
from pathlib import Path

import asyncpg
from acceptance.serve_process import ServeProcess
from releasing import paused, until_released
from rig import Rig

import zart
from zart.testing.server import serving

RATE, STEPS = 5.0, 500  # far more than are let go here
RELEASED = """
    SELECT step_no, EXTRACT(epoch FROM released_at)::float8 AS at FROM zart.released_steps
    ORDER BY released_at, step_no
"""


async def test_the_oldest_go_first_and_an_outage_makes_no_burst(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    killed = ServeProcess(zart_database, tmp_path / "log")
    killed.start()
    try:
        killed.until_listening()
        async with zart.connect(killed.address) as client:
            rig = Rig(client, db)
            rule_id = await paused(rig)
            await rig.start("x", {f"s{n}": () for n in range(STEPS)})
            await client.resume(rule_id=rule_id, rate_per_second=RATE)
            await until_released(rig, 3)
    finally:
        killed.stop(signal.SIGKILL)
    before = await db.fetchval("SELECT count(*) FROM zart.released_steps")
    # It was away for an hour, in which 18,000 could have gone.
    await db.execute("UPDATE zart.pause_releases SET credit_at = credit_at - interval '1 hour'")
    with serving(zart_database) as other:
        async with zart.connect(other.address) as client:
            await until_released(Rig(client, db), before + 3 * int(RATE))
            rule = await client.get_pause_rule(rule_id)
            rows = await db.fetch(RELEASED)

    assert rule.status == "RELEASING"
    assert [row["step_no"] for row in rows] == list(range(len(rows)))
    for (n, first), (m, last) in combinations(enumerate(row["at"] for row in rows), 2):
        assert m - n <= RATE * (last - first) + RATE + 1
