"""A restore brings back the moment of the backup: what is so of its leases is as the page says."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from batching import dead_steps, until_batch
from breaking import ONE, breaker
from retaining import make_old, sweep
from rig import Rig, eventually
from store import system_postgres

import zart
from zart.testing.fixtures import database_url, execute
from zart.testing.server import serving
from zart_server.embedded import postgres
from zart_server.embedded.programs import binaries

PAGE = (Path(__file__).parents[2] / "docs/restoring.md").read_text()
LINES = re.findall(r"^pg_(?!restore --section).*$", PAGE, re.MULTILINE)
WITHOUT_LZ4 = re.findall(r"^pg_restore --section.*$", PAGE, re.MULTILINE)
QUERIES = re.findall(r"^psql .*$", PAGE, re.MULTILINE)


def run(line: str, folder: Path, **environment: str) -> None:
    """Run a line of the page."""
    path = f"{binaries()}{os.pathsep}{os.environ['PATH']}"
    expanded = re.sub(r"\$\{(\w+):\?\}", lambda name: environment[name.group(1)], line)
    subprocess.run(shlex.split(expanded), cwd=folder, env={**os.environ, "PATH": path}, check=True)


def run_in_shell(line: str, folder: Path, **environment: str) -> None:
    """Run a line of the page that has a pipe."""
    path = f"{binaries()}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, **environment}
    subprocess.run(["sh", "-c", line], cwd=folder, env=env, check=True)


@pytest.fixture
def restored_url(zart_database: str) -> Iterator[str]:
    """An empty database beside the first."""
    name = f"{urlsplit(zart_database).path[1:]}_restored"
    execute(zart_database, f"CREATE DATABASE {name}")
    yield urlunsplit(urlsplit(zart_database)._replace(path=f"/{name}"))
    execute(zart_database, f"DROP DATABASE {name} WITH (FORCE)")


async def test_leases_and_results_after_a_restore(
    rig: Rig, zart_database: str, restored_url: str, tmp_path: Path
) -> None:
    dump, restore = LINES
    once = [
        zart.StepSpec("a", if_in_doubt=zart.models.IfInDoubt.STOP, retry=zart.Retry(max_attempts=1))
    ]
    await rig.client.start("t", execution_id="in flight", steps=once)
    (flying,) = await rig.lease(lease_duration=1)
    await rig.client.start("t", execution_id="ready", steps=once)
    await asyncio.to_thread(run, dump, tmp_path, ZART_DATABASE_URL=zart_database)
    (later,) = await rig.lease()
    await rig.complete(later)
    await rig.client.start("t", execution_id="gone", steps=once)

    await asyncio.to_thread(run, restore, tmp_path, RESTORED_URL=restored_url)
    with serving(restored_url) as server:
        async with zart.connect(server.address) as client:

            async def is_in_doubt() -> bool:
                step = await client.get_step("in flight", "a")
                return (step.status, step.in_doubt) == ("DEAD", True)

            await eventually(is_in_doubt)
            ready = await client.get_step("ready", "a")
            assert (ready.status, ready.in_doubt) == ("SCHEDULED", False)
            with pytest.raises(zart.errors.ExecutionNotFound):
                await client.get_execution("gone")
            (again,) = await client.lease_tasks("d", ["t"])
            assert again.idempotency_key == later.idempotency_key
            assert again.lease_token > later.lease_token > flying.lease_token
            outcome = zart.Outcome(later.task_id, later.lease_token, zart.Completed("late"))
            (result,) = await client.report_tasks("d", [outcome])
            assert result.status == "LEASE_LOST"


async def test_roles_and_publications_need_not_be_there(tmp_path: Path) -> None:
    """What only a superuser makes, and what is granted to who is not there, is left out."""
    dump, restore = LINES
    with postgres.running(tmp_path / "pg", durable=False, attributes=["SUPERUSER"]) as own:
        restored_url = database_url(own.url, "restored")
        with serving(own.url) as server:
            async with zart.connect(server.address) as client:
                await client.start("t", execution_id="x", steps=[zart.StepSpec("a")])
        db = await asyncpg.connect(own.url)
        await db.execute("CREATE DATABASE restored")
        await db.execute(
            "CREATE ROLE reader; GRANT SELECT ON zart_steps TO reader; GRANT USAGE ON SCHEMA zart"
            " TO reader; CREATE PUBLICATION everything FOR ALL TABLES"
        )
        await asyncio.to_thread(run, dump, tmp_path, ZART_DATABASE_URL=own.url)
        await db.execute("DROP OWNED BY reader; DROP ROLE reader; ALTER ROLE zart NOSUPERUSER")
        await db.execute("ALTER DATABASE restored OWNER TO zart")
        await db.close()

        await asyncio.to_thread(run, restore, tmp_path, RESTORED_URL=restored_url)
        with serving(restored_url) as server:
            async with zart.connect(server.address) as client:
                assert (await client.get_execution("x")).run.status == "SCHEDULED"


async def test_a_database_with_lz4_is_restored_where_there_is_none(
    restored_url: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    programs = system_postgres.programs()
    if programs is None:
        pytest.skip("no PostgreSQL of the system's is installed, which would have lz4")
    dump, _ = LINES
    with system_postgres.running(tmp_path_factory.mktemp("lz4"), programs) as url:
        with serving(url) as server:
            async with zart.connect(server.address) as client:
                await client.start("t", {"of": "x" * 10_000}, steps=[zart.StepSpec("a")])
        await asyncio.to_thread(run, dump, tmp_path, ZART_DATABASE_URL=url)
    has_it = "pg_restore --section=pre-data --file=- zart.dump | grep --quiet 'COMPRESSION lz4'"

    for line in (has_it, *WITHOUT_LZ4):
        await asyncio.to_thread(run_in_shell, line, tmp_path, RESTORED_URL=restored_url)
    with serving(restored_url) as server:
        async with zart.connect(server.address) as client:
            (task,) = await client.lease_tasks("d", ["t"])
            assert task.payload == {"of": "x" * 10_000}


async def test_a_batch_that_was_at_work_does_nothing_until_it_is_resumed(
    rig: Rig, zart_database: str, restored_url: str, tmp_path: Path
) -> None:
    """Once a server runs it would be too late to pause it: servers look for batches at once."""
    dump, restore = LINES
    pause, *_ = QUERIES
    await dead_steps(rig.client, 3)
    slow = await rig.client.create_batch(zart.RetryStep(), everything=True, rate_per_second=0.01)

    async def has_begun() -> bool:
        return (await rig.client.get_batch(slow.batch_id)).counts.done == 1

    await eventually(has_begun)
    await asyncio.to_thread(run, dump, tmp_path, ZART_DATABASE_URL=zart_database)

    for line in (restore, pause):
        await asyncio.to_thread(run, line, tmp_path, RESTORED_URL=restored_url)
    with serving(restored_url) as server:
        async with zart.connect(server.address) as client:
            found = await client.get_batch(slow.batch_id)
            assert (found.status, found.pause_cause) == ("PAUSED", "OPERATOR")
            await client.update_batch(slow.batch_id, rate_per_second=None)
            await client.resume_batch(slow.batch_id)
            assert (await until_batch(client, slow.batch_id, "COMPLETED")).counts.done == 3


async def test_what_is_past_its_time_by_now_stays_until_somebody_has_looked(
    rig: Rig, zart_database: str, restored_url: str, tmp_path: Path
) -> None:
    """The first server would remove it at once, perhaps all that it is restored for."""
    dump, restore = LINES
    _, keep, *_ = QUERIES
    await rig.client.register_task("t", [zart.StepSpec("a")])
    await rig.client.set_retention("t", timedelta(hours=1))
    await rig.client.set_retention("for ever", None)
    await rig.client.start("t", execution_id="old")
    await rig.complete(await rig.lease_one("a", "old"))
    await asyncio.to_thread(run, dump, tmp_path, ZART_DATABASE_URL=zart_database)

    await asyncio.to_thread(run, restore, tmp_path, RESTORED_URL=restored_url)
    await asyncio.to_thread(run, keep, tmp_path, RESTORED_URL=restored_url)
    restored = await asyncpg.connect(restored_url)
    try:
        await make_old(restored)
    finally:
        await restored.close()
    with serving(restored_url) as server:
        async with zart.connect(server.address) as client:
            await sweep(server)
            found = {one.task_name: one.keep_for for one in await client.list_retention()}
            assert found == {"t": None, "for ever": None}
            assert (await client.get_execution("old")).run.status == "COMPLETED"


_HAS_LOOKED = """
    SELECT looked_at > (SELECT max(completed_at) FROM zart.attempts) + interval '1 second'
    FROM zart.breaker_looks
"""


async def test_a_breaker_does_not_open_by_what_was_in_flight(
    rig: Rig, zart_database: str, restored_url: str, tmp_path: Path
) -> None:
    """All of it is LOST at once, and nothing of what it calls need be wrong."""
    dump, restore = LINES
    *_, begin_anew = QUERIES
    breaker_id = await breaker(rig.client, failure_threshold=3)
    for n in range(3):
        await rig.start(f"x-{n}", ONE)
    assert len(await rig.lease(lease_duration=600)) == 3
    await asyncio.to_thread(run, dump, tmp_path, ZART_DATABASE_URL=zart_database)

    for line in (restore, begin_anew):
        await asyncio.to_thread(run, line, tmp_path, RESTORED_URL=restored_url)
    restored = await asyncpg.connect(restored_url)
    try:
        await restored.execute("UPDATE zart.leases SET lease_expires_at = now() - interval '1 s'")
        with serving(restored_url) as server:
            async with zart.connect(server.address) as client:

                async def are_lost() -> bool:
                    lost = "SELECT count(*) = 3 FROM zart.attempts WHERE status = 'lost'"
                    return bool(await restored.fetchval(lost))

                await eventually(are_lost)
                await eventually(lambda: restored.fetchval(_HAS_LOOKED))
                found = await client.get_breaker(breaker_id)
                assert (found.status, found.failures_in_window) == ("CLOSED", 0)
    finally:
        await restored.close()
