"""Thousands of steps with long errors: an execution can be read, and is exported, all the same."""

from __future__ import annotations

import asyncio
import json
import secrets

import pytest
from rig import Rig
from terminal import zart_command

import zart
from zart.models import StepError
from zart.testing.server import ServerUnderTest

LONG = 12_000  # characters


async def dead(rig: Rig, count: int) -> None:
    """Have an execution x with so many dead steps, each with a long error that does not shrink."""
    await rig.start("x", {f"s{n}": () for n in range(count)})
    while tasks := await rig.lease(250):
        await rig.report(
            *(
                zart.Outcome(
                    task.task_id,
                    task.lease_token,
                    zart.Failed(
                        StepError("Broken", "no", secrets.token_hex(LONG // 2)), retryable=False
                    ),
                )
                for task in tasks
            )
        )


async def test_the_errors_of_a_run_are_cut_so_that_it_can_be_read(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.start("old", {"a": ()})
    await rig.client.cancel_execution("old")
    await dead(rig, 1500)
    steps = (await rig.client.get_execution("x")).steps
    assert {step.status for step in steps} == {"DEAD"}
    told = [step.last_error for step in steps]
    assert {error and (error.type, error.message) for error in told} == {("Broken", "no")}
    sizes = [len(error.details) for error in told if error is not None]
    assert (sizes[0], sizes[-1]) == (LONG, 0)
    assert sum(sizes) < 4 * 1024 * 1024
    last = await rig.client.get_step("x", steps[-1].step_name)
    assert last.last_error is not None
    assert len(last.last_error.details) == LONG

    line = ["--address", zart_server.address, "export", "--everything"]
    printed = await asyncio.to_thread(zart_command, monkeypatch, line)
    assert [json.loads(each)["executionId"] for each in printed.out.splitlines()] == ["x", "old"]


async def test_an_export_has_all_errors_whole(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await dead(rig, 600)
    state = await rig.client.get_execution("x")
    assert [step.errors_omitted for step in state.steps[:: len(state.steps) - 1]] == [False, True]
    line = json.loads(await rig.client.export_execution("x"))
    for step in line["runs"][0]["steps"]:
        assert len(step["lastError"]["details"]) == LONG
        assert [len(one["error"]["details"]) for one in step["attempts"]] == [LONG]
        assert not step["errorsOmitted"]

    await rig.db.execute(  # more than the answer about one step has
        "INSERT INTO zart.attempts SELECT (jsonb_populate_record(a, jsonb_build_object('attempt',"
        " n))).* FROM zart.attempts a, generate_series(2, 400) n WHERE step_no = 599"
    )
    words = ["--address", zart_server.address, "export", "x"]
    printed = await asyncio.to_thread(zart_command, monkeypatch, words)
    *others, last = json.loads(printed.out)["runs"][0]["steps"]
    assert [step["errorsOmitted"] for step in (*others, last)] == [False] * 599 + [True]
    assert len(last["attempts"]) == 400
    assert (printed.code, printed.err) == (
        1, "x: of a step errors past 4 MiB are cut, or attempts before the last 1,000 left out\n",
    )  # fmt: skip
    printed = await asyncio.to_thread(zart_command, monkeypatch, [*words, "-o", "json"])
    told = json.loads(printed.err)["message"]
    assert (printed.code, told.partition(":")[0]) == (1, "x"), told
