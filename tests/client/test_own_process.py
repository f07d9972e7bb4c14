"""A client says in a forked process that it is of another one, before gRPC could hang there.

No test forks (see test_forks.py): the process is told to be another one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from client.test_closed_clients import CALLS
from rig import CHAIN, Rig, specs
from waiting import GIVE_UP

import zart
from zart.testing.server import ServerUnderTest

OF_ANOTHER = "^this client is of another process: make one after the fork$"


@contextmanager
def forked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be the child of this process."""
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", os.getppid)
        yield


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_each_call_says_so_at_once(
    zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch, call: Callable[[Any], Any]
) -> None:
    async with zart.connect(zart_server.address) as client:
        with forked(monkeypatch), pytest.raises(RuntimeError, match=OF_ANOTHER):
            await call(client)
    plain = zart.connect_sync(zart_server.address)
    with forked(monkeypatch), pytest.raises(RuntimeError, match=OF_ANOTHER):
        call(plain)
    plain.close()


async def test_a_start_says_so_beside_one_of_the_parents_that_waits_for_its_turn(
    zart_server: ServerUnderTest, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.client.register_task("t", specs(CHAIN))
    async with zart.connect(zart_server.address, timeout=GIVE_UP) as client:
        waiting = asyncio.create_task(client.start("t", execution_id="x"))
        await asyncio.sleep(0)
        with forked(monkeypatch), pytest.raises(RuntimeError, match=OF_ANOTHER):
            await client.start("t")
        await waiting


async def test_a_child_that_closes_it_leaves_its_parent_connected(
    zart_server: ServerUnderTest, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.client.register_task("t", specs(CHAIN))
    async with zart.connect(zart_server.address) as client:
        with forked(monkeypatch):
            await client.close()
        await client.start("t", execution_id="x")
    with zart.connect_sync(zart_server.address) as plain:
        with forked(monkeypatch):
            plain.close()
        assert plain.get_execution("x").execution.execution_id == "x"
