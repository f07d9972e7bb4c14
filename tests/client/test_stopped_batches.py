"""A batch that another person paused or cancelled says who, when and why, and is not resumed blindly."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from batching import dead_steps, until_batch
from client.at_terminal import Terminal
from rig import Rig
from terminal import Printed, zart_command

import zart
from zart.testing.server import ServerUnderTest

SLOW = 0.01  # items a second: no test sees the second one
WHO = r"2\d{3}-\d\d-\d\d \d\d:\d\d:\d\dZ, by bea: cards are down"


@pytest.fixture
def terminal(zart_server: ServerUnderTest) -> Terminal:
    """A terminal whose commands reach the server."""
    return Terminal(zart_server.address)


async def going(rig: Rig) -> str:
    """Create a batch of ann's that goes on for longer than any test; return its id."""
    await dead_steps(rig.client, 3)
    created = await rig.client.create_batch(
        zart.RetryStep(), everything=True, rate_per_second=SLOW, triggered_by="ann"
    )
    await until_batch(rig.client, created.batch_id, "RUNNING")
    return created.batch_id


async def paused_by_bea(rig: Rig) -> str:
    """Create a batch of ann's that bea has paused."""
    batch_id = await going(rig)
    await rig.client.pause_batch(batch_id, triggered_by="bea", reason="cards are down")
    return batch_id


async def followed(
    rig: Rig, server: ServerUnderTest, patch: pytest.MonkeyPatch, *, end: str, by: str
) -> tuple[Printed, str]:
    """Have ann make a batch and follow it, until somebody pauses or cancels it."""
    await dead_steps(rig.client, 3)
    line = ["--address", server.address, "batch", "retry-step", "--everything", "--rate",
            f"{SLOW}/s", "--yes", "--triggered-by", "ann"]  # fmt: skip
    following = asyncio.create_task(asyncio.to_thread(zart_command, patch, line))
    while not (made := await rig.client.list_batches()):
        await asyncio.sleep(0)
    batch_id = made[0].batch_id
    await until_batch(rig.client, batch_id, "RUNNING")
    stop = rig.client.pause_batch if end == "pause" else rig.client.cancel_batch
    await stop(batch_id, triggered_by=by, reason="cards are down")
    return await following, batch_id


async def test_whoever_follows_it_is_told_who_paused_it(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, batch_id = await followed(rig, zart_server, monkeypatch, end="pause", by="bea")
    assert told.code == 4
    assert f"{batch_id} retry-step is PAUSED (OPERATOR)" in told.out
    assert re.search(rf"^paused     {WHO}$", told.out, re.MULTILINE)
    assert f"bea has paused {batch_id}: ask before it goes on" in told.err
    assert f"batch show {batch_id}" in told.err
    assert "batch resume" not in told.err


async def test_who_paused_it_in_another_window_is_told_what_has_it_go_on(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, batch_id = await followed(rig, zart_server, monkeypatch, end="pause", by="ann")
    assert told.code == 4
    assert f"batch resume {batch_id}" in told.err


async def test_whoever_follows_it_is_told_who_cancelled_it(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, _ = await followed(rig, zart_server, monkeypatch, end="cancel", by="bea")
    assert told.code == 4
    assert re.search(rf"^cancelled  {WHO}$", told.out, re.MULTILINE)


async def test_lists_and_json_have_who_stopped_it(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = await paused_by_bea(rig)

    async def run(*words: str) -> str:
        line = ["--address", zart_server.address, *words]
        return (await asyncio.to_thread(zart_command, monkeypatch, line)).out

    assert re.search(WHO, await run("batch", "list"))
    told: Any = json.loads(await run("batch", "show", batch_id, "-o", "json"))
    stop = told["batch"]["stop"]
    assert (stop["stoppedBy"], stop["reason"]) == ("bea", "cards are down")
    assert stop["stoppedAt"].startswith("20")


async def test_a_list_in_80_columns_has_who_stopped_it(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = await paused_by_bea(rig)
    await rig.db.execute("UPDATE zart.batches SET selected = 1000000, done = 300000")
    line = ["--address", zart_server.address, "batch", "list"]
    monkeypatch.setenv("NO_COLOR", "1")
    seen = (await asyncio.to_thread(zart_command, monkeypatch, line, columns=80)).out
    assert max(map(len, seen.splitlines())) <= 80
    [begin] = [each.index("STOPPED") for each in seen.splitlines() if "STOPPED" in each]
    stopped = " ".join(each[begin:].strip() for each in seen.splitlines()[1:])
    assert re.match(rf"{WHO}( |$)", stopped)
    assert batch_id in seen


async def test_another_persons_pause_is_asked_about(rig: Rig, terminal: Terminal) -> None:
    batch_id = await paused_by_bea(rig)
    line = ("batch", "resume", batch_id, "--triggered-by", "ann")
    code, seen = await asyncio.to_thread(terminal.run, *line, answer="n")
    assert code == 130
    assert re.search(rf"{batch_id} was paused {WHO}\nhave it go on\? \[y/N\]: ", seen)
    assert (await rig.client.get_batch(batch_id)).status == "PAUSED"
    code, seen = await asyncio.to_thread(terminal.run, *line, answer="y")
    assert code == 0, seen
    assert (await rig.client.get_batch(batch_id)).status == "RUNNING"


async def test_what_nobody_else_paused_is_not_asked_about(rig: Rig, terminal: Terminal) -> None:
    batch_id = await paused_by_bea(rig)
    own = ("batch", "resume", batch_id, "--triggered-by", "bea")
    assert (await asyncio.to_thread(terminal.run, *own))[0] == 0
    await rig.client.pause_batch(batch_id, triggered_by="bea")
    meant = ("batch", "resume", batch_id, "--yes", "--request-id", "r", "--triggered-by", "ann")
    assert (await asyncio.to_thread(terminal.run, *meant))[0] == 0
    await rig.client.pause_batch(batch_id, triggered_by="bea")
    repeated = [word for word in meant if word != "--yes"]  # it was done, and changes nothing
    code, seen = await asyncio.to_thread(terminal.run, *repeated)
    assert (code, "it was done before" in seen) == (0, True)


async def test_it_is_found_among_many_and_its_items_are_not_counted(
    rig: Rig, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What became of a million items takes GetBatch longer than a call may."""
    batch_id = await paused_by_bea(rig)
    await rig.db.execute(
        "INSERT INTO zart.batches (batch_id, status, pause_cause, operation, selection, as_of,"
        " created_by, principal, reason, incident)"
        " SELECT 'ba-' || n, status, pause_cause, operation, selection, as_of, created_by,"
        " principal, reason, incident FROM zart.batches, generate_series(1, 60) n"  # two pages
    )

    async def count(*_: object) -> None:
        raise AssertionError("counted what became of all items")

    monkeypatch.setattr("zart_server.engine.background.batch_watches.count_outcomes", count)
    line = ("batch", "resume", batch_id, "--triggered-by", "ann")
    code, seen = await asyncio.to_thread(terminal.run, *line, answer="y")
    assert (code, "was paused" in seen) == (0, True), seen


async def test_one_who_is_verified_to_be_another_is_asked(rig: Rig, terminal: Terminal) -> None:
    batch_id = await going(rig)
    await rig.client.pause_batch(batch_id, triggered_by="ann")  # as nobody who is verified
    await rig.db.execute("UPDATE zart.batches SET principal = 'ann-of-sales'")
    line = ("batch", "resume", batch_id, "--triggered-by", "ann")
    code, seen = await asyncio.to_thread(terminal.run, *line, answer="n")
    assert (code, ", by ann\nhave it go on?" in seen) == (130, True), seen


async def test_nobody_is_asked_where_no_record_tells_who_paused_it(
    rig: Rig, terminal: Terminal
) -> None:
    """So it is with a server of before, which tells of no batch who did."""
    batch_id = await paused_by_bea(rig)
    async with rig.db.transaction():
        await rig.db.execute("SET LOCAL zart.purge = 'on'")
        await rig.db.execute("DELETE FROM zart.operations WHERE kind = 'pause_batch'")
    line = ("batch", "resume", batch_id, "--triggered-by", "ann")
    code, seen = await asyncio.to_thread(terminal.run, *line)
    assert code == 0, seen


async def test_a_canary_is_not_asked_about(rig: Rig, terminal: Terminal) -> None:
    await dead_steps(rig.client, 3)
    created = await rig.client.create_batch(zart.RetryStep(), everything=True, canary=1)
    await until_batch(rig.client, created.batch_id, "PAUSED")
    code, seen = await asyncio.to_thread(terminal.run, "batch", "resume", created.batch_id)
    assert code == 0, seen
