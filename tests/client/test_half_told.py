"""What a command has is shown, though a second call that it takes for the rest fails."""

from __future__ import annotations

import json
from typing import Any

import pytest
from client.scripted import EXECUTION, Run, refusal

from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution

DONE = states.Run(run_id="x:run:0", execution_id="x", status=states.RUN_STATUS_COMPLETED)
STEP = states.Step(step_name="a", status=states.STEP_STATUS_COMPLETED, result_omitted=True)
STATE = execution.GetExecutionResponse(execution=EXECUTION, run=DONE, steps=[STEP])
LAST = execution.WatchExecutionResponse(execution=EXECUTION, run=DONE, steps=[STEP])
REFUSED = refusal(8, "TOO_MANY_READS", "too many reads")
STARTED = execution.RunExecutionResponse(
    started=execution.StartExecutionResponse(execution=EXECUTION)
)
LINES: dict[str, list[Any]] = {
    "status x": [("GetExecution", STATE)],
    "watch x": [("WatchExecution", [LAST]), ("GetExecution", STATE)],
    "wait x": [("WatchExecution", [LAST]), ("GetExecution", STATE)],
    "start t --wait": [
        ("RunExecution", [STARTED, execution.RunExecutionResponse(state=LAST)]),
        ("GetExecution", STATE),
    ],
}


@pytest.mark.parametrize("line", LINES)
def test_the_end_is_told_whose_result_cannot_be_read(run: Run, line: str) -> None:
    code, out, err, _ = run(line, *LINES[line], ("GetStep", REFUSED))
    assert code == 1
    told = out + err
    assert "COMPLETED" in told.partition("zart: ")[0]
    assert "zart: too many reads [TOO_MANY_READS]" in err
    if line == "status x":
        assert "result    not read: " in out
        assert out.splitlines()[-1].startswith("a ")


@pytest.mark.parametrize("line", LINES)
def test_scripts_are_told_the_end_without_the_result(run: Run, line: str) -> None:
    code, out, err, _ = run(f"{line} -o json", *LINES[line], ("GetStep", REFUSED))
    assert code == 1
    found = json.loads(out)["run"]
    assert found["status"] == "RUN_STATUS_COMPLETED"
    assert "resultJson" not in found
    assert json.loads(err)["message"] == "too many reads"


def test_a_step_is_shown_though_nobody_can_tell_since_when_it_is_paused(run: Run) -> None:
    step = states.Step(step_name="a", status=states.STEP_STATUS_PAUSED)
    code, out, err, _ = run(
        "status x a",
        ("GetStep", execution.GetStepResponse(step=step)),
        ("ListRuleHolds", REFUSED),
    )
    assert code == 0
    assert out.startswith("step      a  PAUSED")
    assert err.startswith("since when a is paused could not be looked up: ")
    assert "too many reads" in err
