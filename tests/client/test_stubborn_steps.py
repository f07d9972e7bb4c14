"""`zart dispatch` ends on SIGTERM, whatever its steps wait for: others run them meanwhile."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dispatching import dispatcher_process, registered
from rig import Rig
from waiting import until

from zart.testing.server import ServerUnderTest

TASKS = """
import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import zart
from zart.dispatcher import slots

POOL = ThreadPoolExecutor()
left = []


async def awaits_a_thread(ctx):
    Path("begun").touch()
    await asyncio.to_thread(threading.Event().wait)


async def leaves_a_thread(ctx):
    left.append(asyncio.get_running_loop().run_in_executor(None, threading.Event().wait))
    Path("begun").touch()
    await asyncio.Event().wait()


async def takes_all_threads(ctx):
    loop = asyncio.get_running_loop()
    left.extend(loop.run_in_executor(None, threading.Event().wait) for _ in range(100))
    Path("begun").touch()
    await asyncio.Event().wait()


async def swallows(ctx):
    Path("begun").touch()
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass


async def leaves_a_task(ctx):
    left.append(asyncio.create_task(swallows(ctx)))
    await asyncio.Event().wait()


def blocks(ctx):
    Path("begun").touch()
    threading.Event().wait()


async def has_threads_of_its_own(ctx):
    left.append(asyncio.get_running_loop().run_in_executor(POOL, threading.Event().wait))
    Path("begun").touch()
    await left[0]


async def begins_a_thread(ctx):
    threading.Thread(target=threading.Event().wait).start()
    Path("begun").touch()
    await asyncio.Event().wait()


async def gives_the_loop_threads(ctx):
    asyncio.get_running_loop().set_default_executor(POOL)
    left.append(asyncio.get_running_loop().run_in_executor(None, threading.Event().wait))
    Path("begun").touch()
    await asyncio.Event().wait()


async def generates():
    try:
        yield
    finally:
        await asyncio.Event().wait()


async def leaves_a_generator(ctx):
    left.append(generates())
    await anext(left[0])
    Path("begun").touch()
    await asyncio.Event().wait()


async def breaks_the_dispatcher(ctx):
    (reporter,) = (task for task in asyncio.all_tasks() if task.get_name() == "reporter")
    reporter.cancel()
    await leaves_a_thread(ctx)


async def cleans_up(ctx):
    slots.CLEAN_UP = 60.0  # seconds: a busy machine may stand still for longer than a second
    Path("begun").touch()
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.to_thread(threading.Event().wait, 0.3)  # longer than the dispatcher's end takes
        Path("clean").touch()


async def ends(ctx):
    Path("begun").touch()
    await asyncio.Event().wait()


order = zart.Task("order")
order.step(name="a")({handler})
"""


def dispatcher(
    folder: Path, handler: str, address: str, **variables: str
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """Run a dispatcher as a process, whose steps have no time to end."""
    (folder / "orders.py").write_text(TASKS.replace("{handler}", handler))
    command = (sys.executable, "-m", "zart.cli", "dispatch", "orders", "--grace", "0")
    return dispatcher_process(folder, {"ZART_ADDRESS": address, **variables}, *command)


@pytest.mark.parametrize(
    ("handler", "stays"),
    [
        ("awaits_a_thread", "0 tasks and 1 threads"),
        ("leaves_a_thread", "0 tasks and 1 threads"),
        ("swallows", "1 tasks and 0 threads"),
        ("leaves_a_task", "1 tasks and 0 threads"),
        ("blocks", "0 tasks and 1 threads"),
        ("has_threads_of_its_own", "what steps began"),
        ("begins_a_thread", "what steps began"),
        ("gives_the_loop_threads", "what steps began"),
        ("leaves_a_generator", "what steps began"),
        ("cleans_up", ""),
        ("ends", ""),
    ],
)
async def test_it_ends_and_its_step_is_lost_at_once(
    rig: Rig, zart_server: ServerUnderTest, tmp_path: Path, handler: str, stays: str
) -> None:
    with dispatcher(tmp_path, handler, zart_server.address) as process:
        await registered(rig, "order")
        await rig.client.start("order", execution_id="x")
        await until((tmp_path / "begun").exists)
        process.terminate()
        await until(lambda: process.poll() is not None)
    told = (tmp_path / "log").read_text()
    assert process.returncode == 0, told
    assert stays in told
    assert ("the process ends all the same" in told) == bool(stays)
    (attempt,) = (await rig.client.get_step("x", "a")).attempts
    assert attempt.status == "LOST"
    assert (tmp_path / "clean").exists() == (handler == "cleans_up")


async def test_it_ends_as_soon_where_steps_have_all_threads_and_metrics_are_served(
    rig: Rig, zart_server: ServerUnderTest, tmp_path: Path
) -> None:
    """Serving them ends in a thread, too: that waited for one until the process was overdue."""
    metrics = {"ZART_METRICS_LISTEN": "127.0.0.1:0"}
    with dispatcher(tmp_path, "takes_all_threads", zart_server.address, **metrics) as process:
        await registered(rig, "order")
        await rig.client.start("order", execution_id="x")
        await until((tmp_path / "begun").exists)
        process.terminate()
        await until(lambda: process.poll() is not None)
    told = (tmp_path / "log").read_text()
    assert process.returncode == 0, told
    assert "metrics are served" in told
    assert "threads of steps do not end: the process ends all the same" in told


def test_a_program_goes_on_that_has_called_the_command(tmp_path: Path) -> None:
    """Only a process of the command's own is ended."""
    (tmp_path / "orders.py").write_text(TASKS.replace("{handler}", "ends"))
    (tmp_path / "ca.pem").touch()
    program = (
        "import threading; from zart.cli.main import main; print(main(['dispatch', 'orders']),"
        " [type(each) for each in threading.enumerate() if isinstance(each, threading.Timer)])"
    )
    others = {name: value for name, value in os.environ.items() if not name.startswith("ZART_")}
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**others, "ZART_TLS_CA": str(tmp_path / "ca.pem")},
    )  # fmt: skip
    assert ran.stdout == "2 []\n", ran.stderr


async def test_it_ends_too_where_the_dispatcher_fails(
    rig: Rig, zart_server: ServerUnderTest, tmp_path: Path
) -> None:
    with dispatcher(tmp_path, "breaks_the_dispatcher", zart_server.address) as process:
        await registered(rig, "order")
        await rig.client.start("order", execution_id="x")
        await until(lambda: process.poll() is not None)
    told = (tmp_path / "log").read_text()
    assert process.returncode == 1, told
    assert "the dispatcher failed" in told
    assert "0 tasks and 1 threads" in told
