"""The result of a run that is too large for one answer: everybody gets it all the same, or an error."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from client.scripted import EXECUTION, Run
from retaining import make_old
from rig import LONG as WAIT
from rig import Rig
from terminal import zart_command

import zart
from zart import errors
from zart.run_results import result_of, result_of_sync
from zart.testing.server import ServerUnderTest
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution

LONG = "x" * 1_000_000
NAMES = ["a", 'b "ü"', "c", "d", "e"]  # none depends on another one
WHOLE = dict.fromkeys(NAMES, LONG)


async def finish(rig: Rig) -> None:
    """Complete the steps of one run, each with a long result."""
    tasks = await rig.lease(len(NAMES), wait=WAIT)
    assert len(tasks) == len(NAMES)
    await rig.complete(*tasks, result=LONG)


async def finished(rig: Rig) -> None:
    """Have an execution x whose run is COMPLETED."""
    await rig.start("x", dict.fromkeys(NAMES, ()))
    await finish(rig)


async def test_both_clients_return_it_whole(rig: Rig, zart_server: ServerUnderTest) -> None:
    await finished(rig)
    state = await rig.client.get_execution("x")
    assert (state.run.status, state.run.result) == ("COMPLETED", None)
    assert state.run.result_omitted
    assert [step.result_omitted for step in state.steps] == [False] * 4 + [True]
    found: Any = await rig.client.handle("x").result()
    assert found == WHOLE
    assert list(found) == NAMES
    with zart.connect_sync(zart_server.address) as client:
        assert client.handle("x").result() == WHOLE
        run = client.handle("x").run()
        with pytest.raises(TimeoutError):
            result_of_sync(client.send_raw, run, until=time.monotonic())


async def test_run_returns_it_whole(rig: Rig, zart_server: ServerUnderTest) -> None:
    steps = [zart.StepSpec(name) for name in NAMES]
    running = asyncio.create_task(rig.client.run("t", steps=steps))
    await finish(rig)
    assert await running == WHOLE
    with zart.connect_sync(zart_server.address) as client:
        running = asyncio.create_task(asyncio.to_thread(client.run, "t", steps=steps))
        await finish(rig)
        assert await running == WHOLE


async def test_null_is_no_result_that_was_left_out(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    assert not (await rig.client.get_execution("x")).run.result_omitted
    task = await rig.lease_one("a")
    await rig.report(zart.Outcome(task.task_id, task.lease_token, zart.Completed(None)))
    run = await rig.client.handle("x").run()
    assert (run.status, run.result, run.result_omitted) == ("COMPLETED", None, False)
    assert await rig.client.handle("x").result() is None


@pytest.mark.parametrize(
    ("words", "shown"),
    [(["wait"], ""), (["watch"], "result: "), (["status"], "result    ")],
    ids=["wait", "watch", "status"],
)
async def test_commands_show_it_whole(
    rig: Rig,
    zart_server: ServerUnderTest,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    shown: str,
) -> None:
    await finished(rig)
    line = ["--address", zart_server.address, *words, "x"]
    printed = await asyncio.to_thread(zart_command, monkeypatch, line)
    assert printed.code == 0, printed.err
    (told,) = [line for line in printed.out.splitlines() if line.startswith(f"{shown}{{")]
    assert json.loads(told.removeprefix(shown)) == WHOLE
    printed = await asyncio.to_thread(zart_command, monkeypatch, [*line, "-o", "json"])
    assert printed.code == 0, printed.err
    assert json.loads(json.loads(printed.out)["run"]["resultJson"]) == WHOLE


async def test_an_export_has_it(rig: Rig) -> None:
    await finished(rig)
    await rig.client.restart("x")
    line = json.loads(await rig.client.export_execution("x"))
    first, second = line["runs"]
    assert json.loads(first["resultJson"]) == WHOLE
    assert "resultJson" not in second


async def test_the_result_of_another_one_with_the_id_is_none_of_it(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await finished(rig)
    run = await rig.client.handle("x").run()
    send, calls = rig.client.send_raw, 0

    async def slowly(call: Any, **options: Any) -> Any:
        """Have the execution begin anew, and end alike, after the first call."""
        nonlocal calls
        answer = await send(call, **options)
        calls += 1
        if calls == 1:
            await make_old(rig.db)
            async with zart.connect(zart_server.address) as other:
                await other.purge_executions(timedelta(days=30))
                await finished(Rig(other, rig.db))
        return answer

    monkeypatch.setattr(rig.client, "send_raw", slowly)
    with pytest.raises(errors.ExecutionNotFound, match="'x' was removed meanwhile"):
        await result_of(rig.client.send_raw, run)
    assert calls == 2  # the state, and the step that it has left out


def test_a_result_that_cannot_be_had_is_an_error(run: Run) -> None:
    done = states.Run(run_id="x:run:0", execution_id="x", status=states.RUN_STATUS_COMPLETED)
    step = states.Step(step_name="a", status=states.STEP_STATUS_COMPLETED, result_omitted=True)
    state = execution.GetExecutionResponse(execution=EXECUTION, run=done, steps=[step])
    told = execution.WatchExecutionResponse(execution=EXECUTION, run=done, steps=[step])
    code, out, err, requests = run(
        "wait x",
        ("WatchExecution", [told]),
        ("GetExecution", state),
        ("GetStep", execution.GetStepResponse(step=step)),
    )
    assert (code, out) == (1, "")
    assert err == "x:run:0 is COMPLETED\nzart: the server has no result of 'a', a step of x:run:0\n"
    assert [each.execution_id for each in requests] == ["x"] * 3
