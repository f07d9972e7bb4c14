"""What a step forks has signals of its own: they neither stop its dispatcher nor are lost."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from client.test_held_up_stops import LOOPS
from dispatching import dispatcher_process, registered
from rig import Rig
from waiting import GIVE_UP, until

from zart.testing.server import ServerUnderTest

TASKS = """
import multiprocessing

import zart

order = zart.Task("order")


def double(number):
    return 2 * number


@order.step(retry=zart.Retry(max_attempts=1))
def a(ctx):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return pool.map(double, [1, 2, 3])
"""
# Without gRPC, which may not survive a fork: it did with it, but hung in one round of ten.
FORKS = """
import asyncio, multiprocessing, os, signal, sys
{without}
from zart.cli.event_loop import run_for_long
from zart.cli.forks import with_signals_of_their_own

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests run under
forking = multiprocessing.get_context({way!r})


def ended_by(number):
    process = forking.Process(target=signal.pause)
    process.start()
    os.kill(process.pid, number)  # at once: it may not have begun
    process.join({within})
    if process.exitcode is None:
        process.kill()
    return process.exitcode


def hears_of_it():
    signal.signal(signal.SIGTERM, lambda *_: None)  # as what is forked may have one of its own
    os.kill(os.getpid(), signal.SIGTERM)


def fork():
    process = forking.Process(target=hears_of_it)
    process.start()
    process.join({within})
    found = {{ended_by(number) for number in SIGNALS for _ in range(20)}}
    with forking.Pool(2) as pool:
        return sorted(found), pool.map(abs, [-1, 2])


async def main():
    told, loop = [], asyncio.get_running_loop()
    with with_signals_of_their_own():
        for number in SIGNALS:
            loop.add_signal_handler(number, told.append, number)
        print(*await asyncio.to_thread(fork))
        print(*fork())
        for _ in range(20):  # by a socket, which the loop looks at in each turn
            await asyncio.sleep(0)
        print(told)
        os.kill(os.getpid(), signal.SIGTERM)  # it has its own all the same
        while not told:
            await asyncio.sleep(0)
    print(told == [signal.SIGTERM])


run_for_long(main())
"""
FORK = "fork"


@pytest.mark.parametrize("loop", LOOPS)
def test_a_signal_ends_what_was_forked_and_tells_nobody_else(loop: str) -> None:
    program = FORKS.format(without=LOOPS[loop], way=FORK, within=GIVE_UP)
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, text=True, timeout=2 * GIVE_UP,
        capture_output=True,
    )  # fmt: skip
    killed = sorted(-each for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    lines = [f"{killed} [1, 2]", f"{killed} [1, 2]", "[]", "True", ""]
    assert done.stdout.split("\n") == lines, done.stderr


def dispatcher(
    folder: Path, address: str, loop: str
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    program = f"import sys; {LOOPS[loop]}from zart.cli.main import main; sys.exit(main())"
    command = (sys.executable, "-c", program, "dispatch", "orders")
    return dispatcher_process(folder, {"ZART_ADDRESS": address}, *command)


@pytest.mark.parametrize("loop", LOOPS)
async def test_a_step_with_a_pool_of_processes_stops_no_dispatcher(
    rig: Rig, zart_server: ServerUnderTest, tmp_path: Path, loop: str
) -> None:
    """By the way that the page advises."""
    (tmp_path / "orders.py").write_text(TASKS)
    with dispatcher(tmp_path, zart_server.address, loop) as process:
        await registered(rig, "order")
        for n in range(3):
            handle = await rig.client.start("order", execution_id=f"x{n}")
            assert await handle.result(timeout=GIVE_UP) == [2, 4, 6]
            assert process.poll() is None
        process.terminate()
        await until(lambda: process.poll() is not None)
    assert process.returncode == 0, (tmp_path / "log").read_text()
