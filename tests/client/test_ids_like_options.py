"""Ids and names may begin with ``-``: the lines that are told, to be pasted, mean them all the same."""

from __future__ import annotations

import shlex

import pytest
from client.scripted import EXECUTION, RUN, STEP, Run, refusal
from google.rpc import code_pb2

from zart.v1 import admin_service_pb2 as admin
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution

LOST = refusal(code_pb2.UNAVAILABLE, "STORE_UNAVAILABLE", "down")


@pytest.mark.parametrize(
    ("typed", "arguments"),
    [
        ("retry-step -- -x charge-card", ["--", "-x", "charge-card"]),
        ("retry-step --reason why -- -x --request-id=1", ["--", "-x", "--request-id=1"]),
        ("retry-step --reason -- x charge-card", []),  # it is what --reason says
        ("retry-step --reason -- -- -x charge-card", ["--", "-x", "charge-card"]),
        ("retry-step --accept-in-doubt -- -x charge-card", ["--", "-x", "charge-card"]),
    ],
)
def test_a_line_to_repeat_has_its_options_before_the_ids(
    run: Run, typed: str, arguments: list[str]
) -> None:
    code, _, err, (request,) = run(typed, ("RetryStep", LOST))
    line = err.splitlines()[-1]
    words = shlex.split(typed)
    before = words[: len(words) - len(arguments)]
    assert code == 3
    assert shlex.split(line) == [
        "zart", *before, "--request-id", request.request_id, "--triggered-by", "ops", *arguments,
    ]  # fmt: skip
    code, _, _, (repeated,) = run(line.removeprefix("zart "), ("RetryStep", LOST))
    assert repeated == request


def test_a_line_that_asks_again_is_the_same(run: Run) -> None:
    _, _, err, _ = run("status -- -x", ("GetExecution", LOST))
    assert err.splitlines()[-1] == "zart status -- -x"


def test_a_line_that_applies_a_plan_leaves_the_ids(run: Run) -> None:
    planned = admin.RetryStepResponse(run_id="x", step=STEP, plan_token="AQtok", planned=True)
    _, out, _, _ = run("retry-step --dry-run -- --dry-run charge-card", ("RetryStep", planned))
    assert out.splitlines()[-1] == "zart retry-step --plan-token AQtok -- --dry-run charge-card"


@pytest.mark.parametrize(
    ("execution_id", "step_name", "number", "told"),
    [
        ("-x", "charge-card", 1, "zart status -- -x charge-card"),
        ("x", "-charge", 0, "zart status --run 0 -- x -charge"),
        ("x", "charge-card", 0, "zart status --run 0 x charge-card"),
    ],
)
def test_the_line_for_tracebacks_is_taken(
    run: Run, execution_id: str, step_name: str, number: int, told: str
) -> None:
    failed = states.Attempt(attempt=1, status=states.ATTEMPT_STATUS_FAILED)
    step = states.Step(step_name=step_name, status=states.STEP_STATUS_DEAD, attempts=[failed])
    found, of_it = states.Execution(), states.Run()
    found.CopyFrom(EXECUTION)
    found.execution_id = execution_id
    of_it.CopyFrom(RUN)
    of_it.run_number = number
    answer = execution.GetExecutionResponse(execution=found, run=of_it, steps=[step])
    _, _, err, _ = run("status -- -x", ("GetExecution", answer))
    assert err.splitlines()[-1] == f"with tracebacks: {told}"
    step_answer = ("GetStep", execution.GetStepResponse(step=step))
    code, _, _, (request,) = run(told.removeprefix("zart "), step_answer)
    assert code == 0
    assert (request.execution_id, request.step_name) == (execution_id, step_name)
