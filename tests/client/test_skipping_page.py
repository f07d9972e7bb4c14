"""docs/batches.md: what it says of skipping steps that have not run yet is so, line by line."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

import pytest
from rig import Rig, specs

from zart.cli.main import main
from zart.testing.server import ServerUnderTest

PAGE = (Path(__file__).parents[2] / "docs/batches.md").read_text()
GRAPH = {"reserve": (), "send-mail": ("reserve",), "ship": ("send-mail",)}


def lines() -> list[str]:
    """Return the commands of the recipe."""
    part = PAGE.partition("## Skip steps that have not run yet")[2]
    found = re.search(r"^```sh\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1].splitlines()


async def test_steps_are_skipped_before_they_run(
    rig: Rig, zart_server: ServerUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(line: str, *more: str) -> tuple[int, str]:
        words = [*shlex.split(line.replace("pr-7k2m9x4q", rule_id)), *more]
        assert words[0] == "zart"
        code = await asyncio.to_thread(main, ["--address", zart_server.address, *words[1:]])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    await rig.client.register_task("order", specs(GRAPH))
    for name in ("ready", "waits"):
        await rig.client.start("order", execution_id=name)
    leased = {task.execution_id: task for task in await rig.lease(task="order", lease_duration=600)}
    await rig.complete(leased["ready"])
    rule_id = ""
    pause, skip, resume = lines()
    code, out = await run(pause)
    assert code == 0
    rule_id = out.split()[0]

    code, out = await run(skip, "--yes")
    assert (code, "1 done" in out) == (0, True), out
    skipped = await rig.client.get_step("ready", "send-mail")
    assert (skipped.status, skipped.resolution) == ("COMPLETED", "SKIPPED_BY_OPERATOR")
    assert (await rig.statuses("ready"))["ship"] == "SCHEDULED"  # it goes on at once
    assert (await rig.statuses("waits"))["send-mail"] == "PENDING"
    code, out = await run(skip, "--yes")
    assert (code, "NOTHING_SELECTED" in out) == (1, True), out

    await rig.complete(leased["waits"])
    assert (await run(skip, "--yes"))[0] == 0
    assert (await rig.client.get_step("waits", "send-mail")).resolution == "SKIPPED_BY_OPERATOR"
    assert (await run(resume))[0] == 0
    assert [rule async for rule in rig.client.list_pause_rules()] == []
