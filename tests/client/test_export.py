"""An execution is exported whole, on one line."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from datetime import datetime, timedelta
from typing import Any

import pytest
from retaining import make_old
from rig import LONG as WAIT
from rig import Rig, eventually
from terminal import zart_command

import zart
from zart import errors
from zart.exporting import exporting
from zart.scripts import Script
from zart.testing.server import ServerUnderTest
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution
from zart.v1.audit_service_pb2 import ListOperationsResponse

LONG = 900_000  # of a result


async def test_a_line_has_all_of_it(rig: Rig, zart_server: ServerUnderTest) -> None:
    many = {f"a{n}": () for n in range(1, 6)}
    await rig.start("x", {"a": (), **many, "b": (*many, "a")}, payload={"big": 2**60})
    await rig.fail(await rig.lease_one("a"), retryable=True)
    await rig.complete(*await rig.lease(6, wait=WAIT), result="r" * LONG)
    await rig.work(fail=["b"])
    await rig.client.rerun("x", inputs={"b": 7}, reason="another try")
    line = ""
    with zart.connect_sync(zart_server.address) as client:

        async def are_alike() -> bool:
            """Compare what both clients export: what a step waits for is told a moment later."""
            nonlocal line
            line = await rig.client.export_execution("x")
            return await asyncio.to_thread(client.export_execution, "x") == line

        await eventually(are_alike)
    assert "\n" not in line
    found = json.loads(line)
    assert json.dumps(found, ensure_ascii=False, separators=(",", ":")) == line
    assert (found["executionId"], found["taskName"]) == ("x", "t")
    first, second = found["runs"]
    assert json.loads(first["payloadJson"]) == {"big": 2**60}
    assert (first["status"], second["status"]) == ("RUN_STATUS_FAILED", "RUN_STATUS_SCHEDULED")
    a, *others, b = first["steps"]
    # GetExecution leaves some of these out.
    assert {len(json.loads(step["resultJson"])) for step in (a, *others)} == {LONG}
    assert [attempt["status"] for attempt in a["attempts"]] == [
        "ATTEMPT_STATUS_FAILED", "ATTEMPT_STATUS_COMPLETED",
    ]  # fmt: skip
    assert b["lastError"]["type"] == "Broken"
    assert second["steps"][-1]["inputJson"] == "7"
    assert [o["kind"] for o in found["operations"]] == [
        "OPERATION_KIND_RERUN", "OPERATION_KIND_START",
    ]  # fmt: skip
    with pytest.raises(errors.ExecutionNotFound):
        await rig.client.export_execution("nobody")


async def test_it_takes_a_call_for_each_run_and_one_for_the_operations(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    for runs in (1, 2, 3):
        script, called, answer = exporting("x"), [], None
        try:
            while True:
                call = script.send(answer)
                called.append(call.method.name)
                answer = await rig.client.send_raw(call)
        except StopIteration as done:
            found = json.loads(done.value)
        assert called == [*["GetExecution"] * runs, "ListOperations"]
        assert [run["runNumber"] for run in found["runs"]] == list(range(runs))
        assert found["currentRunNumber"] == runs - 1
        await rig.client.restart("x")


async def test_the_command_prints_a_line_each(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("x-1", "x-2", "y"):
        await rig.start(name, {"a": ()})

    async def exported(*words: str) -> list[str]:
        line = ["--address", zart_server.address, "export", *words]
        printed = await asyncio.to_thread(zart_command, monkeypatch, line)
        assert printed.code == 0, printed.err
        return [json.loads(each)["executionId"] for each in printed.out.splitlines()]

    assert await exported("y", "x-1") == ["y", "x-1"]
    assert await exported("--id-prefix", "x-") == ["x-2", "x-1"]
    assert await exported("--everything") == ["y", "x-2", "x-1"]
    line = ["--address", zart_server.address, "export", "y", "--everything"]
    refused = await asyncio.to_thread(zart_command, monkeypatch, line)
    assert refused.code == 2
    assert "say which" in refused.err
    line = ["--address", zart_server.address, "export", "y", "nobody", "x-1"]
    partial = await asyncio.to_thread(zart_command, monkeypatch, line)
    assert [json.loads(each)["executionId"] for each in partial.out.splitlines()] == ["y", "x-1"]
    assert (partial.code, partial.err) == (
        1, "zart: no execution 'nobody' [EXECUTION_NOT_FOUND]\n",
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252", "UTF8"])
async def test_a_line_is_json_whatever_the_encoding_of_standard_output(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    payload = {"é": ["€", "\U0001f600", "\x85"]}
    await rig.start("x", {"a": ()}, payload=payload)
    for words in (["export", "x"], ["-o", "json", "runs", "x"]):
        line = ["--address", zart_server.address, *words]
        printed = await asyncio.to_thread(zart_command, monkeypatch, line, encoding=encoding)
        assert printed.code == 0, printed.err
        assert printed.out.isascii() == (encoding != "UTF8")
        (run,) = json.loads(printed.out)["runs"]
        assert json.loads(run["payloadJson"]) == payload


async def to_its_end(rig: Rig, script: Script[str], answer: Any) -> None:
    """Play the rest of a script."""
    while True:
        answer = await rig.client.send_raw(script.send(answer))


@pytest.mark.parametrize(("runs", "size"), [(2, LONG), (1, LONG), (1, 1)])
async def test_two_executions_are_never_one_line(rig: Rig, runs: int, size: int) -> None:
    """The id is used again between two calls of an export, by one with as many runs."""

    async def begin() -> None:
        await rig.start("x", {f"a{n}": () for n in range(6)})
        if runs > 1:
            await rig.client.restart("x")
        await rig.complete(*await rig.lease(6), result="r" * size)

    await begin()
    script = exporting("x")
    answer = await rig.client.send_raw(script.send(None))
    await make_old(rig.db)
    await rig.client.purge_executions(timedelta(days=30))
    await begin()
    with pytest.raises(errors.ExecutionNotFound, match="'x' was removed meanwhile"):
        await to_its_end(rig, script, answer)


async def test_another_one_with_the_id_of_one_that_was_listed_is_not_exported(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id is used again after the page was listed, by one that the filter does not match."""
    for name, task in (("x", "removed"), ("y", "kept")):
        await rig.start(name, {"a": ()}, task=task)
        await rig.client.cancel_execution(name)
    former = {one.execution_id: one.created_at async for one in rig.client.list_executions()}
    going_on = asyncio.get_running_loop()
    export = zart.SyncClient.export_execution

    async def begin_anew() -> None:
        await make_old(rig.db)
        await rig.client.purge_executions(timedelta(days=30), task_name="removed")
        await rig.start("x", {"a": ()})

    def meanwhile(client: zart.SyncClient, execution_id: str, **given: Any) -> str:
        if execution_id == "x":
            asyncio.run_coroutine_threadsafe(begin_anew(), going_on).result()
        return export(client, execution_id, **given)

    monkeypatch.setattr(zart.SyncClient, "export_execution", meanwhile)
    line = ["--address", zart_server.address, "export", "--status", "cancelled"]
    printed = await asyncio.to_thread(zart_command, monkeypatch, line)
    assert [json.loads(each)["executionId"] for each in printed.out.splitlines()] == ["y"]
    assert (printed.code, printed.err) == (0, "x was removed meanwhile\n")

    now = (await rig.client.get_execution("x")).execution.created_at
    assert now != former["x"]
    assert await rig.client.export_execution("x", created_at=now)
    with pytest.raises(errors.ExecutionNotFound, match="'x' was removed meanwhile"):
        await rig.client.export_execution("x", created_at=former["x"])
    with pytest.raises(ValueError, match="created_at needs a time zone"):
        await rig.client.export_execution("x", created_at=datetime(2026, 1, 1))  # noqa: DTZ001


async def start_in_place_of_a_former(rig: Rig) -> None:
    """Start an execution with the id of one that was cancelled, and removed."""
    await rig.start("x", {"a": ()})
    await rig.client.cancel_execution("x", reason="the first one")
    await make_old(rig.db)
    await rig.client.purge_executions(timedelta(days=30))
    await rig.start("x", {"a": ()})


async def test_what_was_done_to_one_that_was_removed_is_not_told_of_the_next_with_its_id(
    rig: Rig,
) -> None:
    await start_in_place_of_a_former(rig)
    await rig.client.restart("x", reason="the second one")
    line = json.loads(await rig.client.export_execution("x"))
    assert [(one["kind"], one["reason"]) for one in line["operations"]] == [
        ("OPERATION_KIND_RESTART", "the second one"), ("OPERATION_KIND_START", ""),
    ]  # fmt: skip
    assert len(list(await rig.client.list_operations(execution_id="x"))) == 4


async def test_what_is_left_on_record_of_one_that_was_removed_is_not_told_of_the_next(
    rig: Rig,
) -> None:
    """The oldest operations are removed first: the start is gone, what came after it is not."""
    await start_in_place_of_a_former(rig)
    async with rig.db.transaction():
        await rig.db.execute("SET LOCAL zart.purge = 'on'")
        await rig.db.execute(
            "DELETE FROM zart.operations WHERE operation_key ="
            " (SELECT min(operation_key) FROM zart.operations WHERE execution_id = 'x')"
        )
    on_record = [one.kind async for one in rig.client.list_operations(execution_id="x")]
    assert on_record == ["START", "CANCEL"]
    line = json.loads(await rig.client.export_execution("x"))
    assert [one["kind"] for one in line["operations"]] == ["OPERATION_KIND_START"]


async def test_what_was_done_for_it_before_it_was_started_is_told(rig: Rig) -> None:
    rule = await rig.client.pause(task_name="t", must_match=False)
    await rig.client.update_pause_rule(rule.rule_id, exempt=["x"])
    await rig.client.pause(execution_id="x")
    await rig.start("x", {"a": ()})
    line = json.loads(await rig.client.export_execution("x"))
    kinds = [one["kind"].removeprefix("OPERATION_KIND_") for one in line["operations"]]
    # Meanwhile it may be told of the second rule that nothing of it is in flight.
    assert [kind for kind in kinds if kind != "DRAIN"] == ["START", "PAUSE", "UPDATE_PAUSE_RULE"]


async def test_one_that_begins_anew_without_those_runs_is_not_mixed_in(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.start("x", {"a": ()})
    await rig.client.restart("x")
    await rig.client.restart("x")
    await rig.client.cancel_execution("x")
    send, calls = rig.client.send_raw, 0

    async def slowly(call: Any, **options: Any) -> Any:
        """Answer a call, and have the execution begin anew after the second one."""
        nonlocal calls
        answer = await send(call, **options)
        calls += 1
        if calls == 2:
            await make_old(rig.db)
            async with zart.connect(zart_server.address) as other:
                await other.purge_executions(timedelta(days=30))
                await other.start("t", execution_id="x", steps=[zart.StepSpec("a")])
        return answer

    monkeypatch.setattr(rig.client, "send_raw", slowly)
    with pytest.raises(errors.ExecutionNotFound, match="'x' was removed meanwhile"):
        await rig.client.export_execution("x")


def test_of_what_was_read_only_the_text_is_kept() -> None:
    runs, text = 20, "r" * 500_000
    script = exporting("x")
    script.send(None)
    tracemalloc.start()
    try:
        for number in (runs - 1, *range(runs - 1)):
            run = states.Run(run_id=f"x:run:{number}", run_number=number)
            steps = [states.Step(step_name="a", handler="a", result_json=text)]
            script.send(execution.GetExecutionResponse(run=run, steps=steps))
        with pytest.raises(StopIteration) as ended:
            script.send(ListOperationsResponse())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    line = ended.value.value
    assert [run["runNumber"] for run in json.loads(line)["runs"]] == list(range(runs))
    assert peak < 2.5 * len(line)


def test_a_handler_that_an_answer_had_no_room_for_is_asked_for() -> None:
    script = exporting("x")
    script.send(None)
    left_out = execution.GetExecutionResponse(steps=[states.Step(step_name="a")])
    asked = script.send(left_out)
    whole = states.Step(step_name="a", handler="h" * 200)
    script.send(execution.GetStepResponse(step=whole))
    script.send(ListOperationsResponse())
    with pytest.raises(StopIteration) as ended:
        script.send(left_out)  # is it still the same execution

    assert asked.request == execution.GetStepRequest(step_name="a", run_number=0)
    assert json.loads(ended.value.value)["runs"][0]["steps"][0]["handler"] == whole.handler
