"""What the commands of retention print, against a server."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from retaining import make_old
from rig import CHAIN, Rig, specs
from terminal import Printed, zart_command

import zart
from zart.cli.retention import kept_for
from zart.testing.server import ServerUnderTest, serving


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (1, "1s"), (90, "90s"), (120, "2m"), (5400, "90m"), (86_400, "1d"), (1_234_567, "1234567s"),
        (1_234_560, "20576m"), (0.25, "0.25s"), (3_153_600_000, "36500d"), (100_000_001, "100000001s"),
    ],
)  # fmt: skip
def test_a_span_is_told_to_the_second(seconds: float, told: str) -> None:
    assert kept_for(timedelta(seconds=seconds)) == told


async def command(monkeypatch: pytest.MonkeyPatch, address: str, line: str) -> Printed:
    words = [*line.split(), "--address", address]
    return await asyncio.to_thread(zart_command, monkeypatch, words)


async def test_a_task_that_nobody_knows_is_told_of(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be misspelt: nothing would go, and nobody would notice."""
    await rig.start("x", {"a": ()})
    for line in (
        "retention set {} 1234567s", "purge --older-than 9d --task-name {} --dry-run",
        "purge --older-than 9d --task-name {} --yes",
    ):  # fmt: skip
        known = await command(monkeypatch, zart_server.address, line.format("t"))
        unknown = await command(monkeypatch, zart_server.address, line.format("tt"))
        assert (known.code, known.err, unknown.code) == (0, "", 0)
        assert (
            "there is no task 'tt', nor an execution of it; this lists the tasks that there are:"
            in unknown.err
        )


async def test_it_is_told_where_an_execution_outlives_its_history(
    zart_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(zart_database, retention="60d", operations_retention="400d") as server:
        async with zart.connect(server.address) as client:
            await client.register_task("t", specs(CHAIN))
        for span, is_told in (("400d", False), ("401d", True), ("forever", True)):
            done = await command(monkeypatch, server.address, f"retention set t {span}")
            assert done.code == 0
            assert ("operations are kept for 400d: who did what" in done.err) is is_told


async def test_the_audit_says_how_much_went_and_for_how_long_something_is_kept(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "xyz":
        await rig.start(name, {"a": ()})
    await rig.work()
    await make_old(rig.db)
    # First, so that the server has nothing to remove by what is set.
    await rig.client.purge_executions(timedelta(days=9), reason="full disk")
    await rig.client.set_retention("t", timedelta(days=30))
    await rig.client.set_retention("t", None)
    told = await command(monkeypatch, zart_server.address, "audit --kind purge,set-retention")
    forever, month, purge = (line.split() for line in told.out.splitlines()[1:])
    assert purge[-5:] == ["3", "executions", "·", "full", "disk"]
    assert forever[-3:] == ["kept", "for", "forever"]
    assert month[-3:] == ["kept", "for", "30d"]
