"""What has ended is removed by the database's clock, which may have been ahead and set back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from batching import start_many
from retaining import end_old, keeping, left, make_operations_old, sweep
from rig import Rig

from zart.testing.server import ServerUnderTest
from zart_server.engine.background import own_clock
from zart_server.engine.background.loop import WAITS
from zart_server.store.retention.operations import TABLES


@pytest.fixture
def zart_server(zart_database: str) -> Iterator[ServerUnderTest]:
    """A server by which executions are kept for 60 days, and operations for 400."""
    with keeping(zart_database) as server:
        yield server


async def test_a_pass_that_was_taken_before_the_clock_went_back_is_taken_again(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await start_many(rig.client, 1)
    await end_old(rig.db, days=100)
    await sweep(zart_server, taken_for=timedelta(minutes=10))  # the longest rest
    assert await left(rig.db) == ["x-0"]
    await sweep(zart_server, taken_for=timedelta(minutes=20))
    assert await left(rig.db) == []


@pytest.mark.parametrize("table", TABLES)
async def test_what_was_recorded_while_the_clock_was_ahead_keeps_nothing_behind_it(
    rig: Rig, zart_server: ServerUnderTest, table: str
) -> None:
    counts = {"1 year": 600, "-401 days": 900, "-1 day": 300}  # in the order of their keys
    status, refused = ("", "") if table == "operations" else (", status", ", 'refused'")
    for ago, count in counts.items():
        await rig.db.execute(
            f"INSERT INTO zart.{table} (kind, triggered_by, principal, reason, request_id,"
            f" created_at{status}) SELECT 'pause', '{ago}', '', '', '',"
            f" statement_timestamp() + interval '{ago}'{refused} FROM generate_series(1, {count})"
        )
    for _ in range(2):
        await sweep(zart_server)
        rows = await rig.db.fetch(
            f"SELECT triggered_by, count(*) FROM zart.{table} WHERE kind = 'pause' GROUP BY 1"
        )
        assert {row[0]: row[1] for row in rows} == {"1 year": 600, "-1 day": 300}


async def test_nothing_goes_by_a_clock_that_is_far_ahead(
    rig: Rig,
    zart_server: ServerUnderTest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As that of a replica which is promoted: what goes by it does not come back."""
    await start_many(rig.client, 1)
    await end_old(rig.db, days=100)
    await make_operations_old(rig.db)
    waits = zart_server.running.runtime.retention.failures
    before = waits[WAITS]

    async def operations() -> int:
        count: int = await rig.db.fetchval(
            "SELECT count(*) FROM zart.operations WHERE kind <> 'purge'"
        )
        return count

    there = await operations()
    assert there > 0
    monkeypatch.setattr(own_clock, "own_time", lambda: datetime.now(UTC) - timedelta(minutes=61))
    for _ in range(2):
        await sweep(zart_server)
    told = [line for line in caplog.messages if "ahead of this server's by 1:0" in line]
    assert (await left(rig.db), await operations()) == (["x-0"], there)
    assert (len(told), waits[WAITS] - before) == (1, 2)

    monkeypatch.setattr(own_clock, "own_time", lambda: datetime.now(UTC) - timedelta(minutes=59))
    await sweep(zart_server)
    assert (await left(rig.db), await operations()) == ([], 0)
