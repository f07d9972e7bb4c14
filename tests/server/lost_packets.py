"""A network that drops what is sent, without a word: run by ``test_lost_packets.py`` in one of its own.

Two networks are joined by a cable, and both ends know each other's address by heart. What is lost
is sent to an address that nobody has: neither end is told anything. Without the settings of the
sockets TCP goes on to send for a quarter of an hour, so that two minutes tell the two apart on a
machine however busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from rig import CHAIN, specs
from server.far_away import HERE, THERE
from waiting import block_until, until

import zart
from server import far_away
from zart.testing.server import serving
from zart_server.store.connecting import Connector
from zart_server.store.sessions import DriverConnection, Session

OURS, THEIRS, NOBODYS = (f"02:00:00:00:00:0{n}" for n in (1, 2, 9))
TOLD = 120.0  # seconds
LARGE = "SELECT repeat('x', 1000000) FROM generate_series(1, 200)"  # more than a network holds


def ip(*arguments: str, of: int | None = None) -> None:
    """Change the network, or that of another process."""
    there = ["nsenter", f"--target={of}", "--net"] if of else []
    subprocess.run([*there, "ip", *arguments], check=True)


class Far:
    """What is at the other end of the cable."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.local_url = ""
        self.url = ""
        self.server = ""

    def join(self) -> None:
        """Lay the cable."""
        pid = self.process.pid
        own = Path("/proc/self/ns/net").readlink()
        block_until(lambda: Path(f"/proc/{pid}/ns/net").readlink() != own)
        ends = ["here", "address", OURS, "type", "veth", "peer", "name", "there"]
        ip("link", "add", *ends, "address", THEIRS, "netns", str(pid))
        for of, name, address in ((None, "here", HERE), (pid, "there", THERE)):
            ip("address", "add", f"{address}/24", "dev", name, of=of)
            ip("link", "set", name, "up", of=of)
            ip("link", "set", "lo", "up", of=of)
        self.find()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        said = json.loads(self.process.stdout.readline())
        self.local_url, self.server = said["database"], said["server"]
        self.url = self.local_url.replace("127.0.0.1", THERE)

    def find(self) -> None:
        """Let what is sent arrive."""
        self._send_to(THEIRS, OURS)

    def lose(self) -> None:
        """Lose what is sent, both ways."""
        self._send_to(NOBODYS, NOBODYS)

    def _send_to(self, theirs: str, ours: str) -> None:
        known = ["nud", "permanent", "dev"]
        ip("neighbour", "replace", THERE, "lladdr", theirs, *known, "here")
        of = self.process.pid
        ip("neighbour", "replace", HERE, "lladdr", ours, *known, "there", of=of)

    def sessions(self, purpose: str, state: str = "%") -> int:
        """Count the sessions of a purpose in a state, as PostgreSQL's own machine sees them."""
        ask = (
            "import asyncio, asyncpg, sys\n"
            "async def ask():\n"
            "    to = await asyncpg.connect(sys.argv[1])\n"
            "    print(await to.fetchval('SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name LIKE $1 AND state LIKE $2', *sys.argv[2:]))\n"
            "asyncio.run(ask())"
        )
        there = ["nsenter", f"--target={self.process.pid}", "--net", sys.executable, "-c", ask]
        command = [*there, self.local_url, f"zart-{purpose} %", state]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    """Two networks and the cable between them."""
    folder = tmp_path_factory.mktemp("far")
    command = ["unshare", "--net", sys.executable, far_away.__file__, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        far = Far(process)
        try:
            far.join()
            yield far
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


@pytest.fixture
def far(network: Far) -> Iterator[Far]:
    """The other end, within reach."""
    yield network
    network.find()


@pytest.fixture
async def connection(far: Far) -> AsyncIterator[DriverConnection]:
    """A connection to the far PostgreSQL that no timeout of the driver's ends."""
    made = await Connector(far.url, Session("waiting", statement_timeout=0)).connect()
    yield made
    made.terminate()


@pytest.mark.parametrize("lost", ["the question", "the answer"])
async def test_who_waits_for_an_answer_is_told_by_the_kernel(
    far: Far, connection: DriverConnection, lost: str
) -> None:
    """Where what was sent is not acknowledged, and where it was before the network fell silent."""
    if lost == "the question":
        far.lose()
    asking = asyncio.create_task(connection.execute("SELECT pg_sleep(600)"))
    if lost == "the answer":
        await until(lambda: far.sessions("waiting", "active"))
        far.lose()
    done, _ = await asyncio.wait({asking}, timeout=TOLD)
    assert done, "nobody told that the network was lost"
    with pytest.raises((OSError, asyncpg.PostgresConnectionError)):
        asking.result()


@pytest.mark.parametrize("doing", ["nothing", "sending"])
async def test_the_session_of_who_is_lost_ends(far: Far, doing: str) -> None:
    """Also one that sends, which no timeout of PostgreSQL's ends."""
    connection = await Connector(far.url, Session(doing, statement_timeout=0)).connect()
    try:
        reading = asyncio.create_task(connection.fetch(LARGE if doing == "sending" else "SELECT 1"))
        if doing == "sending":
            await until(lambda: far.sessions(doing, "active"))
        else:
            await reading
        far.lose()
        await until(lambda: not far.sessions(doing), TOLD)
    finally:
        connection.terminate()
        await asyncio.gather(reading, return_exceptions=True)


async def test_callers_of_a_server_are_told_and_it_is_back_with_the_network(far: Far) -> None:
    with serving(far.url) as server:
        async with zart.connect(server.address) as client:
            await client.start("t", execution_id="x", steps=specs(CHAIN))
            far.lose()
            impatient = zart.Client(client.channel, repeats=False)
            with pytest.raises(zart.errors.Unavailable):
                await asyncio.wait_for(impatient.restart("x", request_id="r"), TOLD)
            far.find()
            assert (
                await once_back(lambda: client.restart("x", request_id="r"))
            ).new_run_number == 1
            assert len(await client.list_runs("x")) == 2


async def test_who_calls_a_server_is_told_and_finds_it_again(far: Far) -> None:
    async with zart.connect(far.server) as client:
        await client.start("u", execution_id="y", steps=specs(CHAIN))
        polling = asyncio.create_task(client.lease_tasks("d", ["nothing"], wait=600))
        far.lose()
        done, _ = await asyncio.wait({polling}, timeout=TOLD)
        assert done, "nobody told that the network was lost"
        assert isinstance(polling.exception(), zart.errors.Unreachable)
        far.find()
        assert (await once_back(lambda: client.get_execution("y"))).run.status == "SCHEDULED"


async def test_a_dispatcher_by_its_stream_keeps_what_was_done_and_goes_on(
    far: Far, caplog: pytest.LogCaptureFixture
) -> None:
    task, begun, is_lost = zart.Task("v"), asyncio.Event(), asyncio.Event()

    @task.step(once=True)
    async def pay(_ctx: zart.StepContext) -> str:
        begun.set()
        await is_lost.wait()
        return "receipt"

    stop = asyncio.Event()
    dispatcher = zart.Dispatcher(
        [task], address=far.server, keepalive=1.0, lease=600.0, stream=True
    )
    running = asyncio.create_task(dispatcher.run(stop))
    async with zart.connect(far.server) as client:
        await client.register_task(task.name, task.specs)
        handle = await client.start(task, execution_id="z")
        await asyncio.wait_for(begun.wait(), TOLD)
        far.lose()
        is_lost.set()
        await until(lambda: "outcomes wait, a repeat follows" in caplog.text, TOLD)
        far.find()
        assert await once_back(lambda: handle.result(timeout=TOLD)) == "receipt"
        await client.start(task, execution_id="z2")
        assert await client.handle("z2").result(timeout=TOLD) == "receipt"
        (attempt,) = (await client.get_step("z", "pay")).attempts
        assert attempt.status == "COMPLETED"
    stop.set()
    await running


async def once_back(call: Callable[[], Awaitable[Any]]) -> Any:
    """Repeat a call until it is answered."""
    async with asyncio.timeout(TOLD):
        while True:
            with contextlib.suppress(zart.errors.Unavailable, zart.errors.Unreachable):
                return await call()
