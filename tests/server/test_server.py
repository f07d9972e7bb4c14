"""The server as a whole: health, reflection, drain, logs, settings, outages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from rig import CHAIN, Rig, eventually, specs, until_polled
from waiting import until

import zart
from zart import errors
from zart.testing.fixtures import database_url, execute
from zart.testing.server import ServerUnderTest, serving
from zart.v1 import execution_service_pb2, execution_service_pb2_grpc
from zart_server.embedded import postgres
from zart_server.settings import Settings, SettingsError
from zart_server.store.migrate import migrate

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def health(client: zart.Client, service: str) -> Any:
    """Ask for the health of a service."""
    stub = health_pb2_grpc.HealthStub(client.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    return answer.status


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


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_an_outage_of_the_database_is_told_and_survived(tmp_path: Path) -> None:
    folder, port = tmp_path / "pg", free_port()
    with contextlib.ExitStack() as stack:
        with postgres.running(folder, port=port, durable=False) as database:
            server = stack.enter_context(serving(database.url))
            client = zart.connect(server.address)
            await client.start("t", execution_id="x", steps=specs(CHAIN))
            watching = asyncio.create_task(client.handle("x").result())
            (task,) = await client.lease_tasks("d", ["t"])

        impatient = zart.Client(client.channel, timeout=5)
        with pytest.raises((errors.StoreUnavailable, zart.Unreachable)) as down:
            await impatient.restart("x")
        if isinstance(down.value, errors.StoreUnavailable):
            assert down.value.retry_after is not None
            assert "5432" not in down.value.message
        assert await health(client, "") == SERVING

        async def told() -> bool:
            return bool(await health(client, "zart.v1.AdminService") == NOT_SERVING)

        await eventually(told)
        with postgres.running(folder, port=port, durable=False):

            async def back() -> bool:
                return bool(await health(client, "zart.v1.AdminService") == SERVING)

            await eventually(back, within=20)
            done = zart.Outcome(task.task_id, task.lease_token, zart.Completed("a"))
            assert (await client.report_tasks("d", [done]))[0].status == "RECORDED"
            for _ in range(2):
                (task,) = await client.lease_tasks("d", ["t"], wait=10)
                done = zart.Outcome(task.task_id, task.lease_token, zart.Completed(task.step_name))
                await client.report_tasks("d", [done])
            assert await asyncio.wait_for(watching, 15) == "c"
            await client.close()
            stack.close()


async def test_a_killed_database_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "pg"
    acknowledged: list[str] = []
    with postgres.running(folder) as database, serving(database.url) as server:
        async with zart.connect(server.address, timeout=3) as client:

            async def start_many() -> None:
                for n in range(100_000):
                    with contextlib.suppress(zart.ZartError):
                        await client.start("t", execution_id=f"x{n}", steps=specs({"a": ()}))
                        acknowledged.append(f"x{n}")

            starting = [asyncio.create_task(start_many())]
            await until(lambda: len(acknowledged) >= 200)
            database.process.send_signal(signal.SIGKILL)
            database.process.wait()
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)
    with postgres.running(folder) as database:
        db = await asyncpg.connect(database.url)
        stored = {r["execution_id"] for r in await db.fetch("SELECT * FROM zart_executions")}
        await db.close()
    assert set(acknowledged) <= stored
    assert len(stored) <= len(acknowledged) + 1


async def to_the_end(stream: Any) -> None:
    """Read until there is no more."""
    while await stream.read() is not grpc.aio.EOF:
        pass


async def test_draining_ends_polls_and_watches_and_finishes_what_has_begun(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    with serving(zart_database) as server:
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
    idle = await db.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()"
    )
    assert idle == 0


async def test_a_watch_that_finds_no_server_is_repeated_until_one_is_back(
    zart_database: str,
) -> None:
    with contextlib.ExitStack() as stack:
        with serving(zart_database) as server:
            client = zart.connect(server.address)
            handle = await client.start("t", execution_id="x", steps=specs({"a": ()}))
        watching = asyncio.create_task(handle.run())
        again = serving(zart_database, listen=server.address)
        await asyncio.to_thread(stack.enter_context, again)
        await client.cancel_execution("x")
        assert (await asyncio.wait_for(watching, 10)).status == "CANCELLED"
        await client.close()


async def test_after_load_nothing_is_left_open(rig: Rig, zart_server: ServerUnderTest) -> None:
    for n in range(30):
        await rig.start(f"x{n}", CHAIN)
    await asyncio.gather(*(rig.work() for _ in range(5)))
    watchers = [asyncio.create_task(rig.client.handle("x0").run()) for _ in range(5)]
    await asyncio.gather(*watchers)
    polls = [asyncio.create_task(rig.client.lease_tasks("d", ["t"], wait=30)) for _ in range(20)]
    await until_polled(zart_server, len(polls))
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)

    async def quiet() -> bool:
        busy = await rig.db.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state <> 'idle' AND pid <> pg_backend_pid()"
        )
        runtime = zart_server.running.runtime
        return bool(busy == 0 and not runtime.dispatch.long_polls.task_names())

    await eventually(quiet)


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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "ZART_DATABASE_URL"),
        ({"database_url": "mysql://x"}, "not a PostgreSQL URL"),
        ({"database_url": "::"}, "ZART_DATABASE_URL"),
        ({"database_url": "postgresql://h/d", "listen": "nowhere"}, "HOST:PORT"),
        ({"database_url": "postgresql://h/d", "listen": "0.0.0.0:1"}, "ZART_INSECURE=1"),
        ({"database_url": "postgresql://h/d", "pool_size": 0}, "ZART_POOL_SIZE"),
        ({"database_url": "postgresql://h/d", "log_level": "loud"}, "ZART_LOG_LEVEL"),
    ],
)
def test_settings_are_checked_at_the_start(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, object], message: str
) -> None:
    for name in list(os.environ):
        if name.startswith("ZART_"):
            monkeypatch.delenv(name)
    with pytest.raises(SettingsError, match=message):
        Settings.load(**given)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZART_DATABASE_URL", "postgresql://h/d")
    monkeypatch.setenv("ZART_POOL_SIZE", "7")
    settings = Settings.load(listen=None)
    assert (settings.pool_size, settings.listen) == (7, "127.0.0.1:50051")


@pytest.fixture
def process(zart_database: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own, logging JSON lines."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "zart.cli", "serve", "--listen", address]
    env = {**os.environ, "ZART_DATABASE_URL": zart_database}
    server = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    with zart.connect_sync(address) as client:
        grpc.channel_ready_future(client.channel).result(timeout=20)
    yield server, address
    if server.poll() is None:
        server.kill()
    server.communicate()


def test_one_line_is_logged_for_each_call_and_sigterm_ends_with_0(
    process: tuple[subprocess.Popen[str], str],
) -> None:
    server, address = process
    with zart.connect_sync(address, triggered_by="ops") as client:
        client.start("t", {"secret": "hunter2"}, execution_id="x", steps=specs(CHAIN))
        with pytest.raises(errors.ExecutionNotFound):
            client.restart("nobody", request_id="r7")
    server.send_signal(signal.SIGTERM)
    _, text = server.communicate(timeout=10)

    assert server.returncode == 0
    lines = [json.loads(line) for line in text.splitlines()]
    calls = [line for line in lines if line["event"] == "call" and "Service/" in line["method"]]
    assert [c["method"].rsplit("/")[-1] for c in calls] == ["StartExecution", "Restart"]
    start, restart = calls
    assert (start["code"], start["execution_id"], start["triggered_by"]) == ("OK", "x", "ops")
    assert start["ms"] > 0
    assert (restart["code"], restart["reason"]) == ("NOT_FOUND", "EXECUTION_NOT_FOUND")
    assert restart["request_id"] == "r7"
    assert "hunter2" not in text
    assert "postgresql://" not in text


def test_a_frozen_server_is_noticed_within_ten_seconds(
    process: tuple[subprocess.Popen[str], str],
) -> None:
    import time

    server, address = process
    with zart.connect_sync(address, timeout=60) as client:
        client.start("t", execution_id="x", steps=specs(CHAIN))
        server.send_signal(signal.SIGSTOP)
        begun = time.monotonic()
        with pytest.raises(zart.Unreachable):
            client.lease_tasks("d", ["t"], wait=0)
        took = time.monotonic() - begun
        server.send_signal(signal.SIGCONT)
    assert took < 10


def test_a_killed_server_loses_no_acknowledged_work(
    process: tuple[subprocess.Popen[str], str], zart_database: str
) -> None:
    server, address = process
    with zart.connect_sync(address, timeout=2) as client:
        client.start("t", execution_id="x", steps=specs(CHAIN))
        (task,) = client.lease_tasks("d", ["t"])
        done = zart.Outcome(task.task_id, task.lease_token, zart.Completed("a"))
        assert client.report_tasks("d", [done])[0].status == "RECORDED"
        server.kill()
        server.wait()
        with pytest.raises(zart.Unreachable):
            client.get_execution("x")
    with serving(zart_database) as again, zart.connect_sync(again.address) as client:
        assert client.get_step("x", "a").result == "a"
        assert client.report_tasks("d", [done])[0].status == "ALREADY_RECORDED"
        assert [t.step_name for t in client.lease_tasks("d", ["t"])] == ["b"]


async def test_a_task_leased_by_a_server_that_drains_is_not_lost(
    zart_database: str, rig: Rig
) -> None:
    """A lease taken by a dying dispatcher or server comes back when it expires."""
    with serving(zart_database) as other:
        async with zart.connect(other.address) as elsewhere:
            await rig.start("x", {"a": ()})
            await elsewhere.lease_tasks("d", ["t"], lease_duration=1)
    assert [t.attempt for t in await rig.lease(wait=10)] == [2]
