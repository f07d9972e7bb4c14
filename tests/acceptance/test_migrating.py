"""docs/migrating.md: our half of it runs, and an execution that is half done elsewhere goes on here."""

from __future__ import annotations

import ast
import asyncio
import re
import shlex
from pathlib import Path

import pytest
from dispatching import dispatching, registered
from rig import Rig
from terminal import zart_command

import zart
from zart.testing.server import ServerUnderTest

PAGE = (Path(__file__).parents[2] / "docs/migrating.md").read_text()
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
RESERVED = "reserved for user-7@example.com"


def ours() -> zart.Task:
    """Return the task of the page."""
    (code,) = [each for each in PYTHON if each.startswith("# orders.py")]
    names: dict[str, zart.Task] = {}
    exec(compile(code, "orders.py", "exec", dont_inherit=True), names)  # noqa: S102 - our page
    return names["order"]


def test_their_halves_are_python() -> None:
    assert len(PYTHON) == 3
    for code in PYTHON:
        ast.parse(code)


async def test_our_half_runs_in_a_test_as_on_a_server(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    order, payload = ours(), {"user": 7, "amount": 20}

    assert await zart.testing.run(order, payload) == [
        "charged 20, by test:run:0/charge-card", RESERVED,
    ]  # fmt: skip
    async with dispatching(zart_server, order):
        await registered(rig, "order")
        handle = await rig.client.start(order, payload, execution_id="order-7")
        assert await handle.result() == ["charged 20, by order-7:run:0/charge-card", RESERVED]


async def test_what_is_half_done_there_goes_on_here(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = re.findall(r"^zart .*$", PAGE.partition("## Move over")[2], re.MULTILINE)
    monkeypatch.setenv("ZART_ADDRESS", zart_server.address)
    async with dispatching(zart_server, ours()):
        await registered(rig, "order")
        for line in lines:
            done = await asyncio.to_thread(zart_command, monkeypatch, shlex.split(line)[1:])
            assert done.code == 0, (line, done)
        handle = rig.client.handle("order-7")
        assert await handle.result() == ["charged 20, there", RESERVED]
