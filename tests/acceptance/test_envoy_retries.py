"""Envoy repeats a mutation only where it cannot have reached a server; reads wherever it helps."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import grpc.aio
import pytest
from acceptance.cutting import Cutter
from acceptance.edge import Edge, edge
from rig import CHAIN, Rig, eventually, specs

import zart
from zart.testing.server import serving
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import execution_service_pb2 as pb
from zart.v1.admin_service_pb2_grpc import AdminServiceStub
from zart.v1.execution_service_pb2_grpc import ExecutionServiceStub


@dataclass
class Pair:
    """Envoy in front of two servers, each behind a proxy that can lose its answers."""

    edge: Edge
    cutters: list[Cutter]
    db: asyncpg.Connection[asyncpg.Record]
    exits: list[contextlib.ExitStack] = field(default_factory=list)

    async def runs(self) -> int:
        """Count the runs there are."""
        count: int = await self.db.fetchval("SELECT count(*) FROM zart.runs")
        return count

    async def lose_the_answer(self, runs: int) -> None:
        """Once so many runs are committed, cut every connection."""

        async def committed() -> bool:
            return await self.runs() >= runs

        await eventually(committed)
        for cutter in self.cutters:
            cutter.cut()

    def withhold(self) -> None:
        """Let no answer of a server pass."""
        for cutter in self.cutters:
            cutter.withhold()

    def serving_now(self) -> int:
        """Return which of the two has a call under way."""
        clusters = self.edge.ask("/clusters?format=json")["cluster_statuses"]
        (servers,) = [c for c in clusters if c["name"] == "servers"]
        busy = {
            host["address"]["socket_address"]["port_value"]
            for host in servers["host_statuses"]
            for stat in host["stats"]
            if stat["name"] == "rq_active" and int(stat.get("value", 0)) > 0
        }
        (found,) = [
            n
            for n, cutter in enumerate(self.cutters)
            if int(cutter.address.rpartition(":")[2]) in busy
        ]
        return found


def ask_for_health_later(config: Any) -> None:
    """Have Envoy take no server for lost as long as a test lasts, where no answer passes."""
    servers = config["static_resources"]["clusters"][0]
    servers["health_checks"][0]["interval"] = "60s"
    del servers["outlier_detection"]


@contextlib.asynccontextmanager
async def a_pair(
    database: str,
    db: asyncpg.Connection[asyncpg.Record],
    folder: Path,
    *,
    change: Any = None,
    **settings: Any,
) -> AsyncIterator[Pair]:
    """Run two servers behind Envoy, and start an execution ``x`` that nobody works on."""
    exits = [contextlib.ExitStack(), contextlib.ExitStack()]
    with exits[0], exits[1]:
        servers = [one.enter_context(serving(database, **settings)) for one in exits]
        async with contextlib.AsyncExitStack() as stack:
            cutters = [
                await stack.enter_async_context(Cutter(server.address)) for server in servers
            ]
            addresses = [cutter.address for cutter in cutters]
            # It is waited for in a thread: the cutters work in this one.
            running = edge(folder, addresses, change=change)
            envoy = await asyncio.to_thread(running.__enter__)
            stack.push_async_callback(asyncio.to_thread, running.__exit__, None, None, None)
            async with zart.Client(envoy.channel()) as client:
                await client.start("t", execution_id="x", steps=specs(CHAIN))
            yield Pair(envoy, cutters, db, exits)


@pytest.mark.parametrize("metadata", [(), (("x-envoy-retry-on", "reset,5xx"),)])
async def test_an_answer_lost_after_the_commit_is_one_restart_and_an_unknown_outcome(
    zart_database: str,
    db: asyncpg.Connection[asyncpg.Record],
    tmp_path: Path,
    metadata: tuple[tuple[str, str], ...],
) -> None:
    async with (
        a_pair(zart_database, db, tmp_path, change=ask_for_health_later) as pair,
        pair.edge.bare_channel() as channel,
    ):
        pair.withhold()
        restarting = asyncio.ensure_future(
            AdminServiceStub(channel).Restart(
                admin.RestartRequest(execution_id="x"), metadata=metadata
            )
        )
        await pair.lose_the_answer(runs=2)
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await restarting
        assert unknown.value.code() is grpc.StatusCode.UNAVAILABLE
        assert pair.edge.counter("cluster.servers.upstream_rq_retry") == 0
        assert await pair.runs() == 2


async def test_an_answer_lost_after_the_commit_is_replayed_to_zarts_own_client(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    async with (
        a_pair(zart_database, db, tmp_path, change=ask_for_health_later) as pair,
        zart.Client(pair.edge.channel()) as client,
    ):
        pair.withhold()
        restarting = asyncio.create_task(client.restart("x"))
        await pair.lose_the_answer(runs=2)
        restarted = await restarting
        assert (restarted.new_run_number, restarted.replayed) == (1, True)
        assert await pair.runs() == 2


async def test_the_same_cut_restarts_twice_where_envoy_repeats_what_was_reset(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    """Why the configuration does not say so."""

    def repeat_what_was_reset(config: Any) -> None:
        ask_for_health_later(config)
        (listener,) = config["static_resources"]["listeners"]
        http = listener["filter_chains"][0]["filters"][0]["typed_config"]
        (host,) = http["route_config"]["virtual_hosts"]
        host["retry_policy"]["retry_on"] += ",reset"

    async with (
        a_pair(zart_database, db, tmp_path, change=repeat_what_was_reset) as pair,
        pair.edge.bare_channel() as channel,
    ):
        pair.withhold()
        restarting = asyncio.ensure_future(
            AdminServiceStub(channel).Restart(admin.RestartRequest(execution_id="x"))
        )
        await pair.lose_the_answer(runs=2)
        assert (await restarting).new_run_number == 2
        assert await pair.runs() == 3


async def test_a_mutation_that_met_a_closed_port_is_made_elsewhere(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    async with (
        a_pair(zart_database, db, tmp_path, change=ask_for_health_later) as pair,
        pair.edge.bare_channel() as channel,
    ):
        operations = AdminServiceStub(channel)

        async def is_connected() -> bool:
            await ExecutionServiceStub(channel).ListExecutions(pb.ListExecutionsRequest())
            return pair.edge.connections(pair.cutters[0].address) > 0

        async def is_cut() -> bool:
            return pair.edge.connections(pair.cutters[0].address) == 0

        await eventually(is_connected)
        pair.cutters[0].refuse()
        await eventually(is_cut)
        assert pair.edge.counter("cluster.servers.upstream_rq_retry") == 0
        for number in range(1, 9):
            restarted = await operations.Restart(admin.RestartRequest(execution_id="x"))
            assert restarted.new_run_number == number
        assert pair.edge.counter("cluster.servers.upstream_rq_retry_success") >= 2
        assert await pair.runs() == 9


async def test_what_a_server_did_not_finish_in_its_grace_is_not_repeated(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    """The server says UNAVAILABLE and goes on: a repeat would be a second restart."""
    async with (
        a_pair(zart_database, db, tmp_path, drain_grace=0.1) as pair,
        pair.edge.bare_channel() as channel,
    ):
        async with db.transaction():
            await db.execute("SELECT FROM zart.executions FOR NO KEY UPDATE")
            restarting = asyncio.ensure_future(
                AdminServiceStub(channel).Restart(admin.RestartRequest(execution_id="x"))
            )
            await Rig(zart.Client(channel), db).until_waiting()
            stopping = asyncio.create_task(
                asyncio.to_thread(pair.exits[await asyncio.to_thread(pair.serving_now)].close)
            )
            with pytest.raises(grpc.aio.AioRpcError) as unknown:
                await restarting
        await stopping
        assert unknown.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await pair.runs() == 2


async def test_a_read_that_its_server_did_not_finish_is_answered_by_the_other(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], tmp_path: Path
) -> None:
    async with (
        a_pair(zart_database, db, tmp_path, drain_grace=0.1) as pair,
        pair.edge.bare_channel() as channel,
    ):
        async with db.transaction():
            await db.execute("LOCK TABLE zart.definitions IN ACCESS EXCLUSIVE MODE")
            reading = asyncio.ensure_future(
                ExecutionServiceStub(channel).ListTaskDefinitions(pb.ListTaskDefinitionsRequest())
            )
            rig = Rig(zart.Client(channel), db)
            await rig.until_waiting()
            await asyncio.to_thread(pair.exits[await asyncio.to_thread(pair.serving_now)].close)
            await rig.until_waiting()
            assert not reading.done()
        assert not (await reading).task_definitions
