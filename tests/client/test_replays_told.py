"""A repeat is told as one: what it answers was done by an earlier command, and may be over by now."""

from __future__ import annotations

import asyncio
import json
import shlex
from typing import Any

import pytest
from client.scripted import EXECUTION, RULE, RUN, Run, refusal
from google.rpc import code_pb2
from rig import CHAIN, Rig

from zart.cli.main import main
from zart.testing.server import ServerUnderTest
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import batch_pb2, filter_pb2
from zart.v1 import batch_service_pb2 as batch
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution
from zart.v1 import pause_rule_pb2 as rules

TOLD = "it was done before, by this request id; the answer is the one of then"
PAUSE = "pause --task-name order"
BATCH = batch_pb2.Batch(
    batch_id="ba-7k2m9x4q",
    status=batch_pb2.BATCH_STATUS_COMPLETED,
    operation=batch_pb2.BatchOperation(retry_step=batch_pb2.BatchRetryStep()),
    selection=filter_pb2.ExecutionSelection(everything=True),
    counts=batch_pb2.BatchCounts(selected=3, done=3),
)
COMPLETED = states.Run(run_id="x:run:1", status=states.RUN_STATUS_COMPLETED, result_json="1")


def restarted(*, replayed: bool = True) -> tuple[str, Any]:
    """Answer a Restart."""
    return "Restart", admin.RestartResponse(new_run_id="x:run:1", run=RUN, replayed=replayed)


def paused(*, replayed: bool = True) -> tuple[str, Any]:
    """Answer a Pause."""
    return "Pause", admin.PauseResponse(rule=RULE, paused_steps=12, replayed=replayed)


def now(status: int) -> tuple[str, Any]:
    """Answer how the rule stands."""
    rule = rules.PauseRule()
    rule.CopyFrom(RULE)
    rule.status = status  # type: ignore[assignment]
    if status == rules.PAUSE_RULE_STATUS_RESUMED:
        rule.deleted_by = "ann"
    return "GetPauseRule", admin.GetPauseRuleResponse(rule=rule)


def batched(*, replayed: bool) -> tuple[str, Any]:
    """Answer a CreateBatch."""
    return "CreateBatch", batch.CreateBatchResponse(batch=BATCH, replayed=replayed)


def begun(*, replayed: bool) -> tuple[str, list[Any]]:
    """Answer a RunExecution."""
    started = execution.StartExecutionResponse(execution=EXECUTION, replayed=replayed)
    ended = execution.WatchExecutionResponse(execution=EXECUTION, run=COMPLETED)
    return "RunExecution", [
        execution.RunExecutionResponse(started=started), execution.RunExecutionResponse(state=ended)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("restart x", restarted),
        ("start order --wait", begun),
        ("batch retry-step --everything --yes --no-wait", batched),
    ],
)
def test_a_repeat_is_told(run: Run, line: str, answer: Any) -> None:
    code, out, err, _ = run(f"{line} --request-id r", answer(replayed=True))
    assert (code, err.splitlines()) == (0, [TOLD])
    assert out
    assert run(f"{line} --request-id r", answer(replayed=False))[::2] == (0, "")
    assert run(line, answer(replayed=True))[::2] == (0, "")  # gRPC repeated a call of this command


def test_scripts_read_it_in_the_answer(run: Run) -> None:
    code, out, err, _ = run("restart x --request-id r -o json", restarted())
    assert (code, json.loads(out)["replayed"], err) == (0, True, "")
    code, out, err, _ = run(f"{PAUSE} --request-id r -o json", paused())  # and asks no more
    assert (code, json.loads(out)["replayed"], err) == (0, True, "")


@pytest.mark.parametrize(
    ("standing", "told"),
    [
        (now(rules.PAUSE_RULE_STATUS_ACTIVE), []),
        (
            now(rules.PAUSE_RULE_STATUS_RESUMED),
            ["pr-abcd1234 is RESUMED by now, by ann: it withholds nothing"],
        ),
        (
            now(rules.PAUSE_RULE_STATUS_RELEASING),
            ["pr-abcd1234 is RELEASING by now: it withholds less and less"],
        ),
        (
            ("GetPauseRule", refusal(code_pb2.NOT_FOUND, "PAUSE_RULE_NOT_FOUND", "no rule")),
            ["pr-abcd1234 is no longer there: it withholds nothing now"],
        ),
        (
            ("GetPauseRule", refusal(code_pb2.UNAVAILABLE, "STORE_UNAVAILABLE", "down")),
            ["whether pr-abcd1234 still stands could not be looked up"],
        ),
    ],
)
def test_a_pause_of_then_tells_how_its_rule_stands(
    run: Run, standing: tuple[str, Any], told: list[str]
) -> None:
    code, out, err, requests = run(f"{PAUSE} --request-id r", paused(), standing)
    assert (code, err.splitlines()) == (0, [TOLD, *told])
    assert "withheld  12 ready steps" in out
    assert requests[1] == admin.GetPauseRuleRequest(rule_id="pr-abcd1234")


async def test_a_repeated_pause_whose_rule_somebody_resumed(
    rig: Rig, zart_server: ServerUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    await rig.start("x", CHAIN)
    line = shlex.split(f"--address {zart_server.address} pause --task-name t --request-id r")
    assert await asyncio.to_thread(main, line) == 0
    assert capsys.readouterr().err == ""
    await rig.client.resume(task_name="t")
    assert await asyncio.to_thread(main, line) == 0
    printed = capsys.readouterr()
    assert "withheld  1 ready step" in printed.out
    assert TOLD in printed.err
    assert "is RESUMED by now, by " in printed.err
