"""Outages of the database: told, survived, and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from ports import free_port
from rig import CHAIN, eventually, specs
from server.health import NOT_SERVING, SERVING, health
from waiting import GIVE_UP, until

import zart
from zart import errors
from zart.testing.server import serving
from zart_server.embedded import postgres


async def test_an_outage_of_the_database_is_told_and_survived(tmp_path: Path) -> None:
    folder, port = tmp_path / "pg", free_port()
    with contextlib.ExitStack() as stack:
        with postgres.running(folder, port=port, durable=False) as database:
            server = stack.enter_context(serving(database.url))
            client = zart.connect(server.address, timeout=GIVE_UP)
            sync = stack.enter_context(zart.connect_sync(server.address, timeout=GIVE_UP))
            await client.start("t", execution_id="x", steps=specs(CHAIN))
            watching = asyncio.create_task(client.handle("x").result())
            (task,) = await client.lease_tasks("d", ["t"], lease_duration=600)

        plain = [
            asyncio.ensure_future(client.start("u", execution_id="y", steps=specs(CHAIN))),
            asyncio.ensure_future(client.get_execution("x")),
            asyncio.ensure_future(asyncio.to_thread(sync.pause, task_name="nothing")),
        ]
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

            await eventually(back)
            await asyncio.gather(*plain)
            done = zart.Outcome(task.task_id, task.lease_token, zart.Completed("a"))
            assert (await client.report_tasks("d", [done]))[0].status == "RECORDED"
            for _ in range(2):
                (task,) = await client.lease_tasks("d", ["t"], wait=60)
                done = zart.Outcome(task.task_id, task.lease_token, zart.Completed(task.step_name))
                await client.report_tasks("d", [done])
            assert await asyncio.wait_for(watching, GIVE_UP) == "c"
            await client.close()
            stack.close()


_END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = current_user AND pid <> pg_backend_pid()
"""


async def test_a_password_that_is_changed_is_an_outage_until_it_is_the_servers_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Callers repeat: it was INTERNAL, of which nobody knows whether it happened."""
    with (
        postgres.running(tmp_path / "pg", durable=False) as database,
        serving(database.url) as server,
    ):
        password = urlsplit(database.url).password
        async with zart.connect(server.address, timeout=GIVE_UP) as client:
            db = await asyncpg.connect(database.url)
            await db.execute("ALTER ROLE zart PASSWORD 'another'")
            cause = "NOT_SERVING: the database refuses this password"

            async def told() -> bool:
                await db.execute(_END_OTHERS)  # and those that were about to be made
                is_down = await health(client, "zart.v1.AdminService") == NOT_SERVING
                return bool(is_down and cause in caplog.text)

            await eventually(told)
            impatient = zart.Client(client.channel, timeout=5)
            with pytest.raises((errors.StoreUnavailable, zart.Unreachable)):
                await impatient.list_pause_rules()
            await db.execute(f"ALTER ROLE zart PASSWORD '{password}'")
            await db.close()

            await client.list_pause_rules()
    assert "Traceback" not in caplog.text
    assert caplog.text.count(cause) == 1


async def test_a_killed_database_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "pg"
    acknowledged: list[str] = []
    with postgres.running(folder) as database, serving(database.url) as server:
        async with zart.connect(server.address, timeout=GIVE_UP) as client:

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
