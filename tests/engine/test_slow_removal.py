"""What is not removed, takes too long or is not even found keeps nothing else from going."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import asyncpg
import pytest
from batching import start_many, until_batch
from retaining import (
    end_old,
    keeping,
    left,
    make_operations_old,
    refuse_removal,
    slow_down,
    sweep,
)
from rig import Rig, eventually

import zart
from zart import errors
from zart.testing.server import ServerUnderTest


@pytest.fixture
def zart_server(zart_database: str) -> Iterator[ServerUnderTest]:
    """A server whose statements have a second."""
    with keeping(zart_database, statement_timeout=1.0) as server:
        yield server


async def test_a_piece_that_takes_too_long_is_followed_by_a_smaller_one(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await start_many(rig.client, 60)
    for n in range(5):
        await rig.start(f"u-{n}", {"a": ()}, task="u")
    await end_old(rig.db, days=100)
    await make_operations_old(rig.db)
    await slow_down(rig.db, 0.06)  # so a second is enough for fewer than the first piece has
    await sweep(zart_server)
    assert await left(rig.db) == []
    found = [(o.kind.value, o.task_name) for o in await rig.client.list_operations()]
    assert sorted(found) == [("PURGE", ""), ("PURGE", "t"), ("PURGE", "u")]


async def test_what_does_not_go_even_alone_is_gone_past(
    rig: Rig, zart_server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    await start_many(rig.client, 30)
    await rig.start("u", {"a": ()}, task="u")
    await end_old(rig.db, days=100)
    await make_operations_old(rig.db)
    await slow_down(rig.db, 10, execution_id="x-7")
    with caplog.at_level(logging.WARNING):
        await sweep(zart_server)
    assert await left(rig.db) == ["x-7"]
    assert "execution x-7 of t stays until a later pass" in caplog.text
    # What came after it went well, however much there is yet to go through.
    failing = zart_server.running.runtime.retention.failing
    assert failing.seconds() > 0
    assert failing.is_well
    assert {o.kind.value for o in await rig.client.list_operations()} == {"PURGE"}

    await rig.db.execute("DROP TRIGGER slow ON zart.executions")
    await sweep(zart_server)
    assert await left(rig.db) == []


async def test_operations_go_whatever_becomes_of_executions(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await start_many(rig.client, 3)
    await end_old(rig.db, days=100)
    await make_operations_old(rig.db)
    await refuse_removal(rig.db)
    with pytest.raises(asyncpg.RaiseError, match="not now"):
        await sweep(zart_server)
    assert len(await left(rig.db)) == 3
    assert await rig.db.fetchval("SELECT count(*) FROM zart.operations WHERE kind = 'start'") == 0


async def test_executions_go_whatever_becomes_of_operations(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """Also those that end after a pass that came to its end but for them; and so do batches."""
    await start_many(rig.client, 1, "before")
    batch = await rig.client.create_batch(zart.CancelExecution(), everything=True)
    await until_batch(rig.client, batch.batch_id, "COMPLETED")
    with pytest.raises(errors.ExecutionNotFound):
        await rig.client.restart("nobody")

    async def refused() -> bool:
        return bool(await rig.client.list_operations(statuses=["REFUSED"]))

    await eventually(refused)
    await end_old(rig.db, days=100)
    await make_operations_old(rig.db)
    await refuse_removal(rig.db, table="operation_attempts")
    for name in ("before-0", "after-0"):
        assert await left(rig.db) == [name]
        with pytest.raises(asyncpg.RaiseError, match="not now"):
            await sweep(zart_server)
        assert await left(rig.db) == []
        await start_many(rig.client, 1, "after")
        await end_old(rig.db, days=100)
    assert list(await rig.client.list_batches()) == []


async def test_a_task_of_which_nothing_is_found_keeps_no_other(
    rig: Rig, zart_server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    await rig.start("x", {"a": ()}, task="t")
    await rig.start("y", {"a": ()}, task="u")
    await end_old(rig.db, days=100)
    await rig.db.execute(  # by hand, and before the year 1, which no server can compute with
        "INSERT INTO zart.task_retention (task_name, keep, triggered_by, principal, reason, incident)"
        " VALUES ('t', interval '1000000 days', '', '', '', '')"
    )
    zart_server.running.runtime.retention._executions.next = 1
    with caplog.at_level(logging.WARNING):
        await sweep(zart_server)
    assert await left(rig.db) == ["x"]
    assert "t: what has ended is not found, or not in time" in caplog.text
