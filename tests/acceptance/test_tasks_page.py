"""docs/tasks.md: its example runs, and what it says of attempts and defaults is so."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from dispatching import dispatcher_process, dispatching, registered
from rig import Rig
from waiting import GIVE_UP, until

import zart
from zart.testing.server import ServerUnderTest

PAGE = (Path(__file__).parents[2] / "docs/tasks.md").read_text()
ORDERS, DISPATCH, EXIT, START = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def example() -> zart.Task:
    """Return the task of the page."""
    names: dict[str, zart.Task] = {}
    exec(compile(ORDERS, "orders.py", "exec", dont_inherit=True), names)  # noqa: S102 - our page
    return names["order"]


async def test_the_example_runs_in_a_test_as_on_a_server(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    order = example()
    assert await zart.testing.run(order, {"amount": 20}) == 3
    async with dispatching(zart_server, order):
        await registered(rig, "order")
        busy = await rig.client.start("order", {"amount": 20, "busy": True, "files": 5})
        assert await busy.result() == 5
        reserve = await rig.client.get_step(busy.execution_id, "reserve")
        assert (reserve.attempt, reserve.max_attempts) == (2, 5)
        nothing = await rig.client.start("order", {"amount": 0})
        with pytest.raises(zart.errors.RunFailed, match="nothing to reserve"):
            await nothing.result()
        dead = await rig.client.get_step(nothing.execution_id, "reserve")
        assert (dead.status, dead.attempt) == ("DEAD", 1)


def test_its_defaults_are_those_of_the_code() -> None:
    retry = zart.Retry()
    assert "3 attempts, after 1 s, then × 2 up to 60 s, with jitter" in PAGE
    assert (retry.max_attempts, retry.initial_backoff, retry.backoff_multiplier) == (3, 1.0, 2.0)
    assert retry.max_backoff == 60.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_dispatcher_of_yours_runs_what_is_started_until_it_is_stopped(
    rig: Rig, zart_server: ServerUnderTest, tmp_path: Path, number: signal.Signals
) -> None:
    for name, code in {"orders.py": ORDERS, "dispatch.py": DISPATCH, "start.py": START}.items():
        (tmp_path / name).write_text(code)
    environment = {**os.environ, "ZART_ADDRESS": zart_server.address}

    async def begin(name: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, name, cwd=tmp_path, env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip

    dispatcher = await begin("dispatch.py")
    try:
        await registered(rig, "order")
        for _ in range(2):  # a repeat is answered with the one that there is
            starting = await begin("start.py")
            said = (await asyncio.wait_for(starting.communicate(), GIVE_UP))[0].decode()
            assert starting.returncode == 0, said
            assert said.splitlines()[-2:] == ["COMPLETED", "3"]
    finally:
        dispatcher.send_signal(number)
        try:
            said = (await asyncio.wait_for(dispatcher.communicate(), GIVE_UP))[0].decode()
        finally:
            if dispatcher.returncode is None:
                dispatcher.kill()
    assert dispatcher.returncode == 0, said


STUBBORN = """
import pathlib
import threading

import zart

order = zart.Task("order")


@order.step()
def blocks(ctx):
    pathlib.Path("begun").touch()
    threading.Event().wait()
"""


async def test_its_last_line_ends_the_process_without_a_step_that_does_not(
    rig: Rig, zart_server: ServerUnderTest, tmp_path: Path
) -> None:
    run = "concurrency=64).run(stop)\n"
    assert run in DISPATCH
    program = "import os\n" + DISPATCH.replace(run, run.replace("64", "64, grace=0") + EXIT)
    (tmp_path / "orders.py").write_text(STUBBORN)
    (tmp_path / "dispatch.py").write_text(program)
    address = {"ZART_ADDRESS": zart_server.address}
    with dispatcher_process(tmp_path, address, sys.executable, "dispatch.py") as process:
        await registered(rig, "order")
        await rig.client.start("order", execution_id="x")
        await until((tmp_path / "begun").exists)
        process.terminate()
        await until(lambda: process.poll() is not None)
    assert process.returncode == 0, (tmp_path / "log").read_text()
    (attempt,) = (await rig.client.get_step("x", "blocks")).attempts
    assert attempt.status == "LOST"
