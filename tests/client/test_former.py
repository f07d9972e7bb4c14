"""What is told of an execution is not of one that had its id before, and was removed."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
from client.test_export import start_in_place_of_a_former
from retaining import make_old
from rig import Rig
from terminal import zart_command
from waiting import GIVE_UP

import zart
from zart import errors
from zart.testing.server import ServerUnderTest

ONE = {"a": ()}


async def history(
    monkeypatch: pytest.MonkeyPatch, server: ServerUnderTest, *options: str
) -> tuple[list[str], str]:
    """Return the lines that the command prints, and what is told."""
    line = ("history", "x", "--address", server.address, *options)
    printed = await asyncio.to_thread(zart_command, monkeypatch, line)
    assert printed.code == 0
    return printed.out.splitlines(), printed.err


def first_words(lines: list[str]) -> list[str]:
    """Return what each line is about: an operation by its kind, any other by its first word."""
    return [line.split("Z  ")[-1].split()[0] for line in lines]


async def test_history_tells_where_that_of_a_former_one_begins(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start_in_place_of_a_former(rig)
    await rig.client.restart("x", reason="the second one")
    lines, told = await history(monkeypatch, zart_server)
    assert first_words(lines) == ["WHEN", "RESTART", "START", "before", "CANCEL", "START"]
    began = lines[2].split("  ")[0]
    border = f"before {began}: of another execution with this id, since removed"
    assert (lines[3], told) == (border, "")
    # It is told once, of however many there were; and however few are shown of the last one.
    await rig.client.cancel_execution("x")
    await make_old(rig.db)
    await rig.client.purge_executions(timedelta(days=30))
    await rig.start("x", ONE)
    lines, _ = await history(monkeypatch, zart_server)
    assert first_words(lines).index("before") == 2
    assert len([line for line in lines if line.startswith("before")]) == 1
    lines, _ = await history(monkeypatch, zart_server, "--limit", "1")
    assert first_words(lines) == ["WHEN", "START"]


async def test_history_as_json_has_all(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is of no run and older than the start may be of either."""
    await start_in_place_of_a_former(rig)
    lines, told = await history(monkeypatch, zart_server, "-o", "json")
    kinds = [each["kind"] for each in json.loads("\n".join(lines))["operations"]]
    assert [kind.removeprefix("OPERATION_KIND_") for kind in kinds] == ["START", "CANCEL", "START"]
    assert told == ""  # nobody is there to read it


async def test_what_was_done_before_the_first_start_is_of_no_former_one(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.client.pause(execution_id="x")
    await rig.start("x", ONE)
    lines, _ = await history(monkeypatch, zart_server)
    assert not [line for line in lines if line.startswith("before")]


async def test_a_handle_is_of_the_execution_that_was_started(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """Also where it was started by a call before."""

    async def start(request_id: str) -> zart.Handle[zart.Json]:
        steps = [zart.StepSpec("a")]
        return await rig.client.start("t", execution_id="x", steps=steps, request_id=request_id)

    async def completed(result: str) -> zart.Handle[zart.Json]:
        started = await start(result)
        await rig.complete(await rig.lease_one("a"), result=result)
        return started

    first = await completed("first")
    again = await start("first")
    assert [await one.result() for one in (first, again)] == ["first"] * 2
    await make_old(rig.db)
    await rig.client.purge_executions(timedelta(days=30))
    second = await start("second")
    # While it runs, a watch of it has no end.
    with zart.connect_sync(zart_server.address) as client:
        former = zart.SyncHandle(client, "x", first.execution)
        for waiting in (asyncio.to_thread(former.run), first.run(), first.result()):
            with pytest.raises(errors.ExecutionNotFound, match="'x' was removed meanwhile"):
                await asyncio.wait_for(waiting, GIVE_UP)
    await rig.complete(await rig.lease_one("a"), result="second")

    assert await second.result() == "second"
    assert await rig.client.handle("x").result() == "second"
    with zart.connect_sync(zart_server.address) as client:
        former = zart.SyncHandle(client, "x", first.execution)
        for read in (former.state, former.run, former.result):
            with pytest.raises(errors.ExecutionNotFound, match="'x' was removed meanwhile"):
                await asyncio.to_thread(read)
        assert await asyncio.to_thread(zart.SyncHandle(client, "x", second.execution).result)
    for reading in (first.state(), first.run(), first.result(), again.result()):
        with pytest.raises(errors.ExecutionNotFound, match="'x' was removed meanwhile"):
            await reading
