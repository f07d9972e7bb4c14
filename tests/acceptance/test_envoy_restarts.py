"""Servers restarted one after another under load, behind Envoy and without it: no call is lost."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import asyncpg
import grpc.aio
from acceptance.edge import edge
from acceptance.load import Load, each_ended_once
from acceptance.serve_process import ServeProcess, serve_processes
from rig import specs
from waiting import GIVE_UP

import zart
from zart.channel import aio_channel

# Envoy asks every second, and a busy machine may be late.
BEHIND_ENVOY = {"ZART_DRAIN_NOTICE": "4"}


async def restart(server: ServeProcess) -> None:
    """Restart a server as a deployment does: a new one starts where the old one was."""
    assert await asyncio.to_thread(server.stop) == 0
    server.start()
    await asyncio.to_thread(server.until_listening)


async def test_a_rolling_restart_behind_envoy_loses_no_call(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    with (
        serve_processes(2, zart_database, tmp_path, **BEHIND_ENVOY) as servers,
        edge(tmp_path, [server.address for server in servers]) as envoy,
    ):
        load = Load(envoy.channel, envoy.reached)
        ports = {server.port for server in servers}
        async with envoy.bare_channel() as bare, load.busy(), load.impatient(bare):
            await load.until(5)
            for server in servers:
                await restart(server)
                await asyncio.to_thread(envoy.until_healthy, ports)
                await load.until(5)
        assert load.failed == []
        await each_ended_once(db, load)


async def test_a_killed_server_behind_envoy_costs_its_callers_nothing(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    with (
        serve_processes(2, zart_database, tmp_path) as servers,
        edge(tmp_path, [server.address for server in servers]) as envoy,
    ):
        load = Load(envoy.channel, envoy.reached)
        async with load.busy():
            await load.until(5)
            await asyncio.to_thread(servers[0].stop, signal.SIGKILL)
            await load.until(20)
        assert load.failed == []
        await each_ended_once(db, load)


async def test_a_frozen_server_behind_envoy_is_left_alone_within_ten_seconds(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    with (
        serve_processes(2, zart_database, tmp_path) as servers,
        edge(tmp_path, [server.address for server in servers]) as envoy,
    ):
        async with zart.Client(envoy.channel()) as client:
            ids = [f"x{n}" for n in range(8)]
            for execution_id in ids:
                await client.start("t", execution_id=execution_id, steps=specs({"a": ()}))
            with servers[0].frozen():
                # Half of them are on their way to it.
                restarting = [client.restart(execution_id) for execution_id in ids]
                restarted = await asyncio.wait_for(asyncio.gather(*restarting), GIVE_UP)
            assert {r.new_run_number for r in restarted} == {1}
        runs = await db.fetch("SELECT count(*) AS runs FROM zart.runs GROUP BY execution_key")
        assert [row["runs"] for row in runs] == [2] * len(ids)


async def test_a_rolling_restart_without_a_proxy_loses_no_call(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    with serve_processes(2, zart_database, tmp_path) as servers:
        both = "ipv4:" + ",".join(server.address for server in servers)

        def channel() -> grpc.aio.Channel:
            return aio_channel(both)

        load = Load(channel, {"address": both})
        async with load.busy():
            await load.until(5)
            for server in servers:
                await restart(server)
                await load.until(5)
        assert load.failed == []
        await each_ended_once(db, load)
