"""A server that is told to stop does so within seconds, whatever keeps its last writes waiting."""

from __future__ import annotations

import asyncio
import contextlib
import time

import asyncpg
import pytest
from rig import CHAIN, Rig

import zart
from zart.testing.server import serving
from zart.v1 import admin_service_pb2 as pb
from zart_server.api import audit_trail
from zart_server.api.audit_trail import UNRECORDED, AuditTrail
from zart_server.api.record_limit import Origin
from zart_server.domain.errors import ExecutionNotFound
from zart_server.store.db import Database

SOON = 20.0  # seconds, on a machine however busy; they took 50
RESTART = "/zart.v1.AdminService/Restart"


async def test_a_report_of_a_locked_run_holds_up_no_stop(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], caplog: pytest.LogCaptureFixture
) -> None:
    """Its dispatcher repeats it, to another server: it was waited for five times ten seconds."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(zart_database))
        async with zart.connect(server.address) as client:
            rig = Rig(client, db)
            await rig.start("x", CHAIN)
            (task,) = await rig.lease()
            async with rig.locked("SELECT FROM zart.runs FOR UPDATE"):
                reporting = asyncio.create_task(rig.complete(task))
                await rig.until_waiting()
                begun = time.monotonic()
                await asyncio.to_thread(stack.close)
                assert time.monotonic() - begun < SOON
            reporting.cancel()
            await asyncio.wait([reporting])
    assert "the last reports are not recorded in time" in caplog.text
    with serving(zart_database) as server:
        async with zart.connect(server.address) as client:
            assert await Rig(client, db).complete(task) == ["RECORDED"]


async def test_nor_do_refusals_that_the_database_does_not_take(
    zart_database: str, rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """Each 200 of them took five seconds."""
    db = await Database.open(zart_database)
    trail, before = AuditTrail(db), lost()
    async with rig.locked("LOCK TABLE zart.operation_attempts IN ACCESS EXCLUSIVE MODE"):
        for number in range(audit_trail._MOST_WAITING):
            origin = Origin("", f"ipv4:10.0.{number // 250}.{number % 250}")
            trail.refused(RESTART, pb.RestartRequest(), ExecutionNotFound("x"), origin)
        await rig.until_waiting()
        begun = time.monotonic()
        await trail.drain()
        assert time.monotonic() - begun < SOON
    await db.close()
    assert lost() - before == audit_trail._MOST_WAITING
    assert "operations are not on record: the server stops" in caplog.text


async def test_refusals_that_cannot_be_written_are_counted_and_later_ones_are_written(
    rig: Rig, zart_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is wrong: here somebody has taken a table away for a while."""
    db = await Database.open(zart_database)
    trail, before = AuditTrail(db), lost()
    origin = Origin("", "ipv4:10.0.0.1")

    async def refused(table: str) -> None:
        trail.refused(
            RESTART, pb.RestartRequest(execution_id=table), ExecutionNotFound("x"), origin
        )
        await trail.drain()

    await rig.db.execute("ALTER TABLE zart.operation_attempts RENAME TO away")
    await refused("away")
    await rig.db.execute("ALTER TABLE zart.away RENAME TO operation_attempts")
    assert lost() - before == 1
    assert "a defect, as refused operations were put on record" in caplog.text

    await refused("there")
    assert await rig.db.fetchval("SELECT count(*) FROM zart.operation_attempts") == 1
    await db.close()


def lost() -> float:
    """Return how many refusals are lost so far, of all trails."""
    return float(UNRECORDED.labels("lost")._value.get())
