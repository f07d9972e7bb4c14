"""A dispatcher that was frozen does not begin what another one has done meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dispatching import dispatching, registered
from rig import Rig, until_polled
from waiting import GIVE_UP, eventually, until

import zart
from zart.testing.server import ServerUnderTest

DISPATCHER = """
import asyncio, sys
import zart

address, stream, notes = sys.argv[1:]
task = zart.Task("t")


@task.step()
async def note(ctx):
    with open(notes, "a") as book:
        book.write(f"{ctx.execution_id} by the frozen one\\n")


dispatcher = zart.Dispatcher([task], address=address, lease=3.0, stream=bool(stream))
asyncio.run(dispatcher.run(asyncio.Event()))
"""


@contextlib.contextmanager
def dispatcher(
    address: str, stream: str, notes: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run one as a process, which may be left frozen."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("ZART_")}
    with log.open("wb") as told:
        process = subprocess.Popen(
            [sys.executable, "-c", DISPATCHER, address, stream, str(notes)],
            env=others, stderr=told,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("stream", ["yes", ""], ids=["by a stream", "by calls"])
async def test_what_it_was_leased_as_it_was_frozen_is_not_begun_by_two(
    rig: Rig, zart_server: ServerUnderTest, tmp_path: Path, stream: str
) -> None:
    """Its poll was sent before, and is answered; it looks at the answer when the lease is over."""
    notes, log = tmp_path / "notes", tmp_path / "log"
    task = zart.Task("t")

    @task.step()
    def note(ctx: zart.StepContext) -> None:
        with notes.open("a") as book:
            book.write(f"{ctx.execution_id} by another one\n")

    async def is_leased() -> bool:
        return (await rig.statuses("x"))["note"] == "RUNNING"

    with dispatcher(zart_server.address, stream, notes, log) as process:
        await registered(rig, "t")
        first = await rig.client.start("t", execution_id="first")
        await first.run(timeout=GIVE_UP)
        await until_polled(zart_server)
        process.send_signal(signal.SIGSTOP)
        frozen = await rig.client.start("t", execution_id="x")
        await eventually(is_leased)
        async with dispatching(zart_server, task):
            await frozen.run(timeout=GIVE_UP)
            await until_polled(zart_server)
            process.send_signal(signal.SIGCONT)
            await until_polled(zart_server, 2)  # it is done with that answer
            await until(lambda: "not begun" in log.read_text() or "x by the" in notes.read_text())
    assert notes.read_text().splitlines() == ["first by the frozen one", "x by another one"]
    assert "1 tasks are not begun: their leases had ended on arrival" in log.read_text()
