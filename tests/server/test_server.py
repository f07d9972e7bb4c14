"""The server as a whole: health, reflection, the start and the drain."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from acceptance.cutting import Cutter
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from rig import CHAIN, Rig, eventually, specs, until_polled
from server.health import NOT_SERVING, SERVING, health, watched_health
from waiting import GIVE_UP

import zart
from zart import errors
from zart.testing.fixtures import database_url, execute
from zart.testing.server import ServerUnderTest, serving
from zart.v1 import execution_pb2, execution_service_pb2, execution_service_pb2_grpc
from zart_server.store.migrate import migrate


async def test_health_of_the_process_and_of_each_service(rig: Rig) -> None:
    assert await health(rig.client, "") == SERVING
    for service in ("Admin", "Execution", "Dispatch", "Audit"):

        async def serving_(name: str = f"zart.v1.{service}Service") -> bool:
            return bool(await health(rig.client, name) == SERVING)

        await eventually(serving_)
    with pytest.raises(grpc.RpcError) as unknown:
        await health(rig.client, "nobody")
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_the_services(rig: Rig) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(rig.client.channel)
    call = stub.ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    )
    async for answer in call:
        names = {s.name for s in answer.list_services_response.service}
        break
    assert {f"zart.v1.{n}Service" for n in ("Admin", "Execution", "Dispatch", "Audit")} <= names
    assert "grpc.health.v1.Health" in names


async def to_the_end(stream: Any) -> None:
    """Read until there is no more."""
    while await stream.read() is not grpc.aio.EOF:
        pass


async def test_the_last_state_of_a_watch_is_told_once(rig: Rig) -> None:
    """It comes with the end of the call, not before it as well."""
    await rig.start("x", {"a": ()})
    leased = await rig.lease_one("a", "x")
    await rig.report(zart.Outcome(leased.task_id, leased.lease_token, zart.Completed("1")))
    stub = execution_service_pb2_grpc.ExecutionServiceStub(rig.client.channel)
    watch = stub.WatchExecution(execution_service_pb2.WatchExecutionRequest(execution_id="x"))
    assert [state.run.status async for state in watch] == [execution_pb2.RUN_STATUS_COMPLETED]


async def test_draining_ends_polls_and_watches_and_finishes_what_has_begun(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    with serving(zart_database, drain_grace=GIVE_UP) as server:
        client = zart.connect(server.address)
        await client.start("t", execution_id="x", steps=specs(CHAIN))
        stream = client.watch_execution("x")
        assert (await anext(stream)).run.status == "SCHEDULED"
        bare = execution_service_pb2_grpc.ExecutionServiceStub(client.channel).WatchExecution(
            execution_service_pb2.WatchExecutionRequest(execution_id="x")
        )
        await bare.read()
        await client.lease_tasks("d", ["t"])
        polling = asyncio.create_task(client.lease_tasks("d", ["other"], wait=30))
        async with db.transaction():
            await db.execute("SELECT FROM zart.executions FOR NO KEY UPDATE")
            restarting = asyncio.create_task(client.restart("x", request_id="r"))
            await Rig(client, db).until_waiting()
    # The server is gone: the poll ended empty or refused, the restart was finished.
    (polled,) = await asyncio.gather(polling, return_exceptions=True)
    assert polled == () or isinstance(polled, zart.ZartError)
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await to_the_end(bare)
    assert isinstance(told := errors.from_call(ended.value), errors.ShuttingDown)
    assert told.code is grpc.StatusCode.UNAVAILABLE
    assert told.retry_after is not None
    await asyncio.gather(restarting, return_exceptions=True)
    await stream.aclose()
    await client.close()
    assert await db.fetchval("SELECT count(*) FROM zart.runs") == 2

    async def is_alone() -> bool:  # PostgreSQL hears of it a moment later
        others = await db.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()"
        )
        return bool(others == 0)

    await eventually(is_alone)


async def test_a_stop_waits_for_no_watch_of_health(zart_database: str) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(zart_database, drain_grace=20))
        async with zart.connect(server.address) as client:
            watch = watched_health(client, "")
            assert (await watch.read()).status == SERVING
            await asyncio.to_thread(stack.close)
            assert (await watch.read()).status == NOT_SERVING
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await to_the_end(watch)
    # By itself: not cancelled by gRPC, as what has not ended after the grace.
    assert isinstance(errors.from_call(ended.value), errors.ShuttingDown)


async def test_a_stop_waits_for_no_stream_of_reflection(zart_database: str) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(zart_database, drain_grace=20))
        async with zart.connect(server.address) as client:
            stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
            asking = stub.ServerReflectionInfo()
            await asking.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            assert (await asking.read()).list_services_response.service
            await asyncio.to_thread(stack.close)
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await to_the_end(asking)
    # By itself, as above.
    assert isinstance(errors.from_call(ended.value), errors.ShuttingDown)


async def test_a_watch_that_finds_no_server_is_repeated_until_one_is_back(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.start("x", {"a": ()})
    async with Cutter(zart_server.address) as cutter, zart.connect(cutter.address) as client:
        cutter.withhold()
        watching = asyncio.create_task(client.handle("x").run())

        async def is_asked() -> bool:
            return cutter.connections > 0

        await eventually(is_asked)
        cutter.cut()
        await rig.client.cancel_execution("x")
        assert (await asyncio.wait_for(watching, GIVE_UP)).status == "CANCELLED"


async def load(rig: Rig, server: ServerUnderTest, name: str) -> None:
    """Start executions, fail and complete their steps, watch them, and poll for more in vain."""
    for n in range(30):
        retry = zart.Retry(max_attempts=2, initial_backoff=0.05)
        await rig.start(f"{name}{n}", CHAIN, retry=retry)
    for task in await rig.lease(5):
        assert await rig.fail(task, retryable=True) == "RECORDED"
    await asyncio.gather(*(rig.work() for _ in range(5)))

    async def all_are_completed() -> bool:
        await rig.work()
        left = await rig.db.fetchval("SELECT count(*) FROM zart.runs WHERE completed_at IS NULL")
        return bool(left == 0)

    await eventually(all_are_completed)
    watchers = [asyncio.create_task(rig.client.handle(f"{name}0").run()) for _ in range(5)]
    await asyncio.gather(*watchers)
    polls = [asyncio.create_task(rig.client.lease_tasks("d", ["t"], wait=30)) for _ in range(20)]
    await until_polled(server, len(polls))
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)


def descriptors() -> int:
    """Count what this process has open, and with it the server in one of its threads."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def kept_by(server: ServerUnderTest) -> dict[str, int]:
    """Count what a server has open, or at hand, for what it does: less of it once that is done."""
    runtime = server.running.runtime

    async def tasks() -> int:
        return len(asyncio.all_tasks())

    counting = asyncio.run_coroutine_threadsafe(tasks(), server.loop)
    return {
        "tasks": await asyncio.wrap_future(counting),
        "timers": len(runtime.maintenance._timers) + len(runtime.due_soon._timers),
        "polls": len(runtime.dispatch.long_polls._waiting),
        # The pool is filled as it is needed, and stays.
        "descriptors": descriptors() - runtime.db._pool.get_size(),
    }


async def test_after_load_nothing_is_left_open(rig: Rig, zart_server: ServerUnderTest) -> None:
    async def quiet() -> bool:
        busy = await rig.db.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state <> 'idle' AND pid <> pg_backend_pid()"
        )
        runtime = zart_server.running.runtime
        return bool(busy == 0 and not runtime.dispatch.long_polls.task_names())

    await load(rig, zart_server, "first")
    await eventually(quiet)
    before = await kept_by(zart_server)
    await load(rig, zart_server, "second")
    await eventually(quiet)

    async def is_no_more_than_before() -> bool:
        kept = await kept_by(zart_server)
        return all(kept[name] <= before[name] for name in kept)

    await eventually(is_no_more_than_before)


def test_replicas_that_start_at_once_against_an_empty_database_all_serve(
    zart_postgres: str,
) -> None:
    execute(database_url(zart_postgres, "zart"), "CREATE DATABASE empty")
    url = database_url(zart_postgres, "empty")

    async def all_at_once() -> None:
        await asyncio.gather(*(migrate(url) for _ in range(5)))

    asyncio.run(all_at_once())
    with serving(url) as one, serving(url) as two:
        assert one.address != two.address
    execute(database_url(zart_postgres, "zart"), "DROP DATABASE empty WITH (FORCE)")


def test_without_migrating_an_old_schema_is_refused(zart_postgres: str) -> None:
    from zart_server.app import StartError

    execute(database_url(zart_postgres, "zart"), "CREATE DATABASE old")
    url = database_url(zart_postgres, "old")
    with pytest.raises(StartError, match="zart migrate"), serving(url, migrate=False):
        pass
    execute(database_url(zart_postgres, "zart"), "DROP DATABASE old WITH (FORCE)")


def test_a_taken_port_is_one_clear_error(zart_server: ServerUnderTest) -> None:
    from zart_server.app import StartError

    with (
        pytest.raises(StartError, match="is another server running there"),
        serving(zart_server.database_url, listen=zart_server.address),
    ):
        pass


async def test_a_task_leased_by_a_server_that_drains_is_not_lost(
    zart_database: str, rig: Rig
) -> None:
    """A lease taken by a dying dispatcher or server comes back when it expires."""
    with serving(zart_database) as other:
        async with zart.connect(other.address) as elsewhere:
            await rig.start("x", {"a": ()})
            await elsewhere.lease_tasks("d", ["t"], lease_duration=1)
    assert [t.attempt for t in await rig.lease(wait=60)] == [2]
