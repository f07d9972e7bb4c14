"""README.md: its programs are whole, and do against a server what they say."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from dispatching import dispatching, registered
from rig import Rig
from waiting import GIVE_UP

import zart
from zart.testing.server import ServerUnderTest

README = (Path(__file__).parents[2] / "README.md").read_text()
TASKS, CALLER, PLAIN = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def task() -> zart.Task:
    """Return the task of the page."""
    names: dict[str, zart.Task] = {}
    exec(compile(TASKS, "tasks.py", "exec", dont_inherit=True), names)  # noqa: S102 - our page
    return names["order"]


async def said_by(code: str, server: ServerUnderTest) -> list[str]:
    """Run a program; return the lines that it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env={**os.environ, "ZART_ADDRESS": server.address},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), GIVE_UP)
    assert process.returncode == 0, err.decode()
    return out.decode().splitlines()


async def test_its_callers_run_as_they_stand(rig: Rig, zart_server: ServerUnderTest) -> None:
    async with dispatching(zart_server, task()):
        await registered(rig, "order")
        first, second = await said_by(CALLER, zart_server)
        (plain,) = await said_by(PLAIN, zart_server)

    assert first.startswith("charged user-7@example.com, once: ")
    assert second == "charged user-7@example.com, once: order-7:run:0/charge-card"
    assert plain.startswith("charged user-8@example.com, once: ")
    runs = {run.run_number: run for run in await rig.client.list_runs("order-7")}
    assert (runs[1].trigger, runs[1].reason) == ("RESTART", "new prices")
