"""`zart dispatch` ends in its time also where a step holds the event loop up as it is to stop."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dispatching import dispatcher_process, registered
from rig import Rig
from waiting import GIVE_UP, block_until, until

import zart
from zart.testing.server import ServerUnderTest

TASKS = """
import socket
import threading
import time
from pathlib import Path

import zart

order = zart.Task("order")


@order.step()
async def receives(ctx):
    here, there = socket.socketpair()
    Path("begun").touch()
    here.recv(1)


@order.step()
async def waits(ctx):
    Path("begun").touch()
    threading.Event().wait()


@order.step()
async def resumes(ctx):
    Path("begun").touch()
    while not Path("go").exists():
        time.sleep(0.02)
    return "done"
"""
LOOPS = {"uvloop": "", "asyncio": "sys.modules['uvloop'] = None; "}
SIGNALS = [signal.SIGTERM, signal.SIGINT]


def dispatcher(
    folder: Path, address: str, loop: str, rest: float, terminal: int | None = None
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """Run a dispatcher as a process, which has ``rest`` seconds besides its grace of none."""
    (folder / "orders.py").write_text(TASKS)
    program = (
        f"import sys; {LOOPS[loop]}from zart.cli import dispatching; from zart.cli.main import main;"
        f" dispatching._REST = {rest}; sys.exit(main())"
    )
    window = [] if terminal is None else ["env", "--default-signal=HUP", "setsid", "--ctty"]
    command = [*window, sys.executable, "-c", program, "dispatch", "orders", "--grace", "0"]
    return dispatcher_process(folder, {"ZART_ADDRESS": address}, *command, stdin=terminal)


async def held_up(rig: Rig, folder: Path, step: str) -> None:
    """Have a step begin that holds the loop up."""
    await registered(rig, "order")
    await rig.client.start("order", execution_id="x", steps=[zart.StepSpec(step)])
    await until((folder / "begun").exists)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("step", ["receives", "waits"])
@pytest.mark.parametrize("loop", LOOPS)
async def test_it_ends_whatever_holds_its_loop_up(
    rig: Rig, zart_server: ServerUnderTest, tmp_path: Path, loop: str, step: str, number: int
) -> None:
    with dispatcher(tmp_path, zart_server.address, loop, 3.0) as process:
        await held_up(rig, tmp_path, step)
        # Who holds the loop up is known once it has stood still for a second.
        await until(lambda: "has stood still" in (tmp_path / "log").read_text())
        process.send_signal(number)
        await until(lambda: process.poll() is not None)
    told = (tmp_path / "log").read_text()
    assert process.returncode == 0, told
    assert f"{signal.Signals(number).name} waits for the event loop, held up by" in told
    assert f"the event loop, held up by step x:run:0/{step} (orders.py:" in told
    assert f" in {step}), does not end: the process ends all the same" in told


async def test_it_ends_where_its_terminal_is_closed_meanwhile(
    rig: Rig, zart_server: ServerUnderTest, tmp_path: Path
) -> None:
    person, terminal = pty.openpty()
    with dispatcher(tmp_path, zart_server.address, "uvloop", 4.0, terminal) as process:
        os.close(terminal)
        await held_up(rig, tmp_path, "waits")
        os.close(person)
        await until(lambda: process.poll() is not None)
    told = (tmp_path / "log").read_text()
    assert (process.returncode, "SIGHUP waits for the event loop" in told) == (0, True), told


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("loop", LOOPS)
async def test_a_loop_that_resumes_in_time_stops_as_ever(
    rig: Rig, zart_server: ServerUnderTest, tmp_path: Path, loop: str, number: int
) -> None:
    with dispatcher(tmp_path, zart_server.address, loop, GIVE_UP) as process:
        await held_up(rig, tmp_path, "resumes")
        process.send_signal(number)
        log = tmp_path / "log"
        await until(lambda: "waits for the event loop" in log.read_text())
        process.send_signal(number)  # the same wish once more
        (tmp_path / "go").touch()
        await until(lambda: process.poll() is not None)
    assert process.returncode == 0, log.read_text()
    assert "all the same" not in log.read_text()
    step = await rig.client.get_step("x", "resumes")
    assert [attempt.status for attempt in step.attempts] == ["COMPLETED"]


LAST_WORDS = """
import logging, sys, threading
from zart.cli import leaving

class NobodyReads(logging.Handler):
    def emit(self, record):
        threading.Event().wait()

leaving._LAST_WORDS = 0.1
logging.getLogger().addHandler(NobodyReads())
leaving.end_process("why")
"""


def test_it_ends_though_nobody_reads_its_log() -> None:
    with subprocess.Popen([sys.executable, "-c", LAST_WORDS]) as process:
        try:
            block_until(lambda: process.poll() is not None)
        finally:
            process.kill()
    assert process.returncode == 0
