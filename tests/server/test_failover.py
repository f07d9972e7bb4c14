"""An asynchronous failover loses the last transactions: their numbers are given out again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from ports import free_port
from rig import Rig, deafen, specs
from waiting import GIVE_UP

import zart
from zart.testing.server import ServerUnderTest, serving
from zart_server.embedded import postgres
from zart_server.embedded.postgres import Postgres


@dataclass
class Pair:
    """A primary and, as of the moment when it was cut off, its replica; both by one URL."""

    primary: Postgres
    standby: Path
    url: str
    port: int
    stack: ExitStack = field(default_factory=ExitStack)

    def fail_over(self) -> None:
        """Lose the primary, and promote the replica, which begins another timeline."""
        self.primary.process.send_signal(signal.SIGKILL)
        self.primary.process.wait()
        (self.standby / "data" / "recovery.signal").touch()
        archive = ["restore_command=false", "recovery_target_timeline=latest"]
        running = postgres.running(self.standby, port=self.port, settings=archive)
        self.stack.enter_context(running)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """The schema is there, and a server was."""
    with postgres.running(tmp_path / "primary") as primary, serving(primary.url):
        pass
    with cut_off(tmp_path) as pair:
        yield pair


@contextlib.contextmanager
def cut_off(tmp_path: Path) -> Iterator[Pair]:
    """Replication ends right here: what happens from now on reaches the primary only."""
    subprocess.run(["cp", "-a", tmp_path / "primary", tmp_path / "standby"], check=True)
    with ExitStack() as stack:
        primary = stack.enter_context(postgres.running(tmp_path / "primary"))
        parts = urlsplit(primary.url)
        port = free_port()
        hosts = f"host=127.0.0.1:{parts.port}&host=127.0.0.1:{port}"
        url = f"postgresql://{parts.username}:{parts.password}@{parts.path}?{hosts}"
        yield Pair(
            primary, tmp_path / "standby", url + "&target_session_attrs=read-write", port, stack
        )


@pytest.fixture
def server(pair: Pair) -> Iterator[ServerUnderTest]:
    """A server that outlives the primary."""
    with serving(pair.url) as server:
        yield server


@pytest.fixture
async def rig(pair: Pair, server: ServerUnderTest) -> AsyncIterator[Rig]:
    """Its client."""
    async with zart.connect(server.address, timeout=GIVE_UP) as client:
        db = await asyncpg.connect(pair.primary.url)
        yield Rig(client, db)
        db.terminate()


async def fail_over(pair: Pair, rig: Rig) -> None:
    """Lose what the replica did not get, and wait until the server has found the replica."""
    await asyncio.to_thread(pair.fail_over)
    await rig.client.list_pause_rules()  # which is repeated for as long as it takes


async def test_a_zombie_of_a_lost_execution_cannot_end_anothers_lease(pair: Pair, rig: Rig) -> None:
    """Run key, step and, were it not drawn anew, the token too are those of the lost lease."""
    await rig.start("lost", {"a": ()})
    (zombie,) = await rig.lease()
    await fail_over(pair, rig)
    await rig.start("kept", {"a": ()})
    (lease,) = await rig.lease()
    assert lease.task_id == zombie.task_id, "the test is of numbers that come again"

    done = zart.Outcome(zombie.task_id, zombie.lease_token, zart.Completed("lost"))
    (answer,) = await rig.report(done)

    assert answer.status == "LEASE_LOST"
    assert (await rig.client.get_step("kept", "a")).status == "RUNNING"


async def test_a_rule_with_the_epoch_of_a_lost_one_holds(pair: Pair, rig: Rig) -> None:
    """The server knew other rules by that epoch."""
    await rig.client.pause(task_name="lost")
    await rig.start("x", {"a": ()}, task="lost")  # judged by the rules at hand, which it reads
    await fail_over(pair, rig)
    await rig.client.pause(task_name="kept")
    await rig.start("y", {"a": ()}, task="kept")

    assert await rig.lease(task="kept") == []
    assert (await rig.client.get_step("y", "a")).status == "PAUSED"


async def test_a_definition_with_the_key_of_a_lost_one_is_its_own(pair: Pair, rig: Rig) -> None:
    """The server kept the graph of a lost task by that key, and what leases tell of its step."""
    await rig.client.register_task("lost", specs({"l": ()}))
    await rig.client.start("lost", execution_id="x")
    assert len(await rig.lease(task="lost")) == 1
    await fail_over(pair, rig)
    await rig.client.register_task("kept", specs({"k1": (), "k2": ()}))
    await rig.client.start("kept", execution_id="y")

    assert {task.step_name for task in await rig.lease(task="kept")} == {"k1", "k2"}


async def test_a_lane_with_the_number_of_a_lost_one_is_its_own(
    pair: Pair, server: ServerUnderTest, rig: Rig
) -> None:
    """The server kept by that number where claims for a lost task begin."""
    runtime = server.running.runtime
    await deafen(server)  # these two have it forget that as well, but later
    stopping = runtime.maintenance.stop()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(stopping, server.loop))
    low_water = runtime.dispatch.low_water
    low_water._old = timedelta(0)

    for name in "xy":
        await rig.start(name, {"l": ()}, task="lost")
    assert len(await rig.lease(1, task="lost")) == 1
    assert len(await rig.lease(task="lost")) == 1
    (lost,) = low_water.to_look(["lost"]).cursors
    await fail_over(pair, rig)
    await rig.start("z", {"k": ()}, task="kept")

    assert await rig.lease(task="lost") == []
    assert [task.step_name for task in await rig.lease(task="kept")] == ["k"]
    (kept,) = low_water._marks[("kept",), ()].hot
    assert kept == lost, "the test is of numbers that come again"
