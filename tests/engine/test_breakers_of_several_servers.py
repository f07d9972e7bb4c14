"""Servers that look after the same breakers take no lock for what there is not to do."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from breaking import COOLDOWN, ONE, breaker, cool, until
from patient import patient_database
from rig import Rig, eventually

from zart.testing.server import ServerUnderTest
from zart_server.engine.operations.probe_breaker import half_open_breaker
from zart_server.store.pausing.rules import PAUSE_LOCK

HOLD = "SELECT pg_advisory_xact_lock_shared($1)"
LETS_GO = "zart_server.engine.background.breakers.let_probes_go"


async def test_what_another_server_has_done_takes_no_pause_lock(
    zart_database: str, rig: Rig
) -> None:
    breaker_id = await breaker(rig.client, cooldown=COOLDOWN)
    await rig.client.trip_breaker(breaker_id)
    await cool(rig)
    await until(rig.client, breaker_id, "HALF_OPEN")
    db = await patient_database(zart_database)
    try:
        async with rig.locked(HOLD, PAUSE_LOCK), db.autocommit() as connection:
            # Who asked for the lock would wait for ten seconds, and fail.
            assert not await half_open_breaker(connection, breaker_id)
            assert not await half_open_breaker(connection, "br-that-was-deleted")
    finally:
        await db.close()


async def look(server: ServerUnderTest, times: int = 3) -> None:
    """Have the server look after its breakers so often."""
    for _ in range(times):
        turn = server.running.runtime.breakers.turn()
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(turn, server.loop))


@pytest.mark.parametrize("backs_off", [False, True])
async def test_a_breaker_with_nothing_to_try_locks_no_run(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch, *, backs_off: bool
) -> None:
    """One with nothing paused; or with a step that is not due yet."""
    asked: list[str] = []

    async def let_none_go(_tx: object, _probes: object, breaker_id: str) -> int:
        asked.append(breaker_id)
        return 0

    monkeypatch.setattr(LETS_GO, let_none_go)
    breaker_id = await breaker(rig.client, cooldown=COOLDOWN)
    await rig.client.trip_breaker(breaker_id)

    async def put_off(by: timedelta) -> None:
        await rig.db.execute("UPDATE zart.held SET not_before = statement_timestamp() + $1", by)

    if backs_off:
        await rig.start("x", ONE)
        await put_off(timedelta(hours=1))
    await cool(rig)
    await until(rig.client, breaker_id, "HALF_OPEN")
    await look(zart_server)
    assert asked == []

    await (put_off(timedelta(0)) if backs_off else rig.start("x", ONE))

    async def is_asked() -> bool:
        return asked[:1] == [breaker_id]

    await eventually(is_asked)
