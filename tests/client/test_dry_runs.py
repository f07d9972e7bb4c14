"""Plans from the command line and from Python: the line that applies one, and who does not plan."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import shlex
from typing import Any

import pytest
from client.scripted import RUN, STEP, Run, Script, refusal
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2
from rig import CHAIN, Rig

import zart
import zart.calls
from zart import errors
from zart.cli.main import main
from zart.testing.server import ServerUnderTest
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import batch_pb2, filter_pb2
from zart.v1 import batch_service_pb2 as batch
from zart.v1 import execution_service_pb2 as execution
from zart.v1 import pause_rule_pb2 as rules
from zart.v1 import warning_pb2 as warnings

PLANNED_RULE = rules.PauseRule(task_name="order", step_pattern="charge-*")
ENDED = rules.PauseRule(rule_id="pr-old", deleted_by="ann", deleted_at=Timestamp(seconds=1))
MADE = batch_pb2.Batch(
    batch_id="ba-7k2m9x4q",
    operation=batch_pb2.BatchOperation(retry_step=batch_pb2.BatchRetryStep()),
    selection=filter_pb2.ExecutionSelection(everything=True),
    counts=batch_pb2.BatchCounts(selected=1, pending=1),
)
PLANS: dict[str, tuple[str, str, Any]] = {
    "retry-step": ("x charge-card", "RetryStep", admin.RetryStepResponse(
        run_id="x:run:1", step=STEP, plan_token="AQtok", planned=True)),
    "complete-step": ("x b --result '{\"n\": 1}'", "CompleteStep", admin.CompleteStepResponse(
        run_id="x:run:1", step=STEP, plan_token="AQtok", planned=True)),
    "skip-step": ("x b --fence", "CompleteStep", admin.CompleteStepResponse(
        run_id="x:run:1", step=STEP, plan_token="AQtok", planned=True)),
    "fail-step": ("x b --message no", "FailStep", admin.FailStepResponse(
        run_id="x:run:1", step=STEP, plan_token="AQtok", planned=True)),
    "restart": ("x --payload '{\"n\": 1}'", "Restart", admin.RestartResponse(
        new_run_number=2, run=RUN, plan_token="AQtok", planned=True)),
    "rerun": ("x --rerun a", "Rerun", admin.RerunResponse(
        new_run_number=2, effective_rerun=["a"], plan_token="AQtok", planned=True)),
    "pause": ("--task-name order --step 'charge-*'", "Pause", admin.PauseResponse(
        rule=PLANNED_RULE, paused_steps=10_000, paused_steps_is_lower_bound=True, executions=7,
        sample_execution_ids=["order-1"], plan_token="AQtok", planned=True)),
    "resume": ("--task-name order", "Resume", admin.ResumeResponse(
        rules_deleted=1, rules=[PLANNED_RULE], plan_token="AQtok", planned=True)),
    "cancel": ("x", "CancelExecution", execution.CancelExecutionResponse(
        run=RUN, plan_token="AQtok", planned=True)),
}  # fmt: skip


@pytest.mark.parametrize("command", PLANS)
def test_a_dry_run_ends_with_the_line_that_applies_it(run: Run, command: str) -> None:
    arguments, method, answer = PLANS[command]
    line = f"{command} --dry-run {arguments} --reason 'it''s back'"
    code, out, err, (request,) = run(line, (method, answer))
    assert (code, err) == (0, "")
    assert "would" in out
    assert (request.validate_only, request.plan_token) == (True, "")

    *_, told, applies = out.splitlines()
    assert told == "nothing was done; this does it, or nothing:"
    words = shlex.split(line)
    words[1:2] = ["--plan-token", "AQtok"]
    assert shlex.split(applies) == ["zart", *words]
    answer.planned = False
    _, out, _, (applied,) = run(shlex.join(shlex.split(applies)[1:]), (method, answer))
    assert "would" not in out
    assert (applied.validate_only, applied.plan_token) == (False, "AQtok")
    for message in (request, applied):
        for field in ("validate_only", "plan_token", "request_id"):
            message.ClearField(field)
    assert applied == request
    answer.planned = True


@pytest.mark.parametrize("command", PLANS)
def test_an_answer_that_does_not_say_it_is_a_plan_ends_with_3(run: Run, command: str) -> None:
    """A server from before there were plans has done what it was asked for."""
    arguments, method, plan = PLANS[command]
    answer = type(plan)()
    answer.CopyFrom(plan)
    answer.planned = False
    code, out, err, _ = run(f"{command} {arguments} --dry-run", (method, answer))
    assert (code, out) == (3, "")
    assert "may have done" in err
    code, out, err, _ = run(f"{command} {arguments} --dry-run -o json", (method, answer))
    assert (code, out) == (3, "")
    assert "may have done" in json.loads(err)["message"]


def test_python_raises_what_may_have_been_done() -> None:
    script = Script(("Restart", admin.RestartResponse(new_run_id="x:run:2", run=RUN)))
    client = zart.connect_sync(channel=script.channel)
    with pytest.raises(errors.NotPlanned) as raised:
        client.restart("x", validate_only=True)
    assert isinstance(raised.value.answer, zart.models.Restarted)
    assert raised.value.answer.new_run_id == "x:run:2"


def test_every_call_that_plans_refuses_an_answer_that_is_no_plan() -> None:
    found = set()
    for module in pkgutil.iter_modules(zart.calls.__path__, "zart.calls."):
        for name, call in inspect.getmembers(importlib.import_module(module.name)):
            if inspect.isfunction(call) and "validate_only" in inspect.signature(call).parameters:
                assert "plan_reader(" in inspect.getsource(call), name
                found.add(name)
    assert len(found) >= len(PLANS)


def test_the_blast_radius_is_shown(run: Run) -> None:
    _, method, plan = PLANS["pause"]
    _, out, err, (request,) = run("pause --task-name order --dry-run --for 2h", (method, plan))
    assert out.splitlines()[:4] == [
        "would pause task=order step=charge-*",
        "withheld  10000 or more ready steps",
        "in flight 0 steps, which finish",
        "concerns  7 unfinished executions, as order-1",
    ]
    assert err == ""
    assert request.must_match


@pytest.mark.parametrize(
    ("line", "answer", "told"),
    [
        ("--task-name order", admin.ResumeResponse(), "no rule has this scope: nothing was done"),
        ("--all", admin.ResumeResponse(), "no rule has this scope: nothing was done"),
        ("--task-name order --dry-run", admin.ResumeResponse(planned=True), "nothing was done"),
        ("--rule-id pr-old", admin.ResumeResponse(rules=[ENDED]), "pr-old ended before, by ann"),
    ],
)
def test_a_resume_of_nothing_is_no_order_that_was_done(
    run: Run, line: str, answer: admin.ResumeResponse, told: str
) -> None:
    code, out, err, _ = run(f"resume {line}", ("Resume", answer))
    assert (code, out) == (1, "")
    assert told in err
    code, out, err, _ = run(f"resume {line} -o json", ("Resume", answer))
    assert (code, told in json.loads(err)["message"]) == (1, True)
    assert json.loads(out)["rulesDeleted"] == 0


def test_a_scope_of_nothing_is_no_usage_and_future_makes_it_one(run: Run) -> None:
    status = refusal(
        code_pb2.FAILED_PRECONDITION, "SCOPE_MATCHES_NOTHING", "no task 'ordr'; did you mean 'order'?",
        field="task_name", nearest="order",
    )  # fmt: skip
    code, out, err, (request,) = run("pause --task-name ordr", ("Pause", status))
    assert (code, out) == (2, "")
    assert "did you mean 'order'?" in err
    assert "--future" in err
    assert request.must_match
    warning = warnings.Warning(message="no task 'ordr'")
    answer = admin.PauseResponse(rule=PLANNED_RULE, warnings=[warning])
    code, _, err, (request,) = run("pause --task-name ordr --future", ("Pause", answer))
    assert (code, err) == (0, "warning: no task 'ordr'\n")
    assert not request.must_match


async def test_the_line_applies_what_was_planned(
    rig: Rig, zart_server: ServerUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    await rig.dead("x y", CHAIN)
    address = ["--address", zart_server.address]
    assert main([*address, "retry-step", "x y", "b", "--dry-run", "--reason", "a 'b'"]) == 0
    assert await rig.run_status("x y") == "FAILED"
    program, *words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert program == "zart"
    assert main(words) == 0
    assert await rig.run_status("x y") == "RUNNING"
    assert main(words) == 1
    assert "step_status" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["--dead-after 2h --created-before=30m", "--dead-before 1h30m"])
def test_an_age_is_a_time_in_the_line_that_applies(run: Run, form: str) -> None:
    """Later it would be of another time: another request than the one that was planned."""
    plan = batch.CreateBatchResponse(planned=True, plan_token="AQtok")
    words = f"batch retry-step --dry-run {form} --reason 2h"
    _, out, _, (request,) = run(words, ("CreateBatch", plan))
    line = out.splitlines()[-1]
    made = batch.CreateBatchResponse(batch=MADE)
    code, _, _, (applied,) = run(f"{line.removeprefix('zart ')} --no-wait", ("CreateBatch", made))
    assert (code, applied.plan_token, applied.reason) == (0, "AQtok", "2h")
    assert applied.selection == request.selection


def test_an_age_is_a_time_in_the_line_to_repeat(run: Run) -> None:
    lost = refusal(code_pb2.UNAVAILABLE, "STORE_UNAVAILABLE", "the database is away")
    line = "batch restart --created-after 2h --yes --no-wait"
    code, _, err, (request,) = run(line, ("CreateBatch", lost))
    assert code == 3
    made = batch.CreateBatchResponse(batch=MADE)
    repeat = err.splitlines()[-1].removeprefix("zart ")
    code, _, _, (repeated,) = run(repeat, ("CreateBatch", made))
    assert (code, repeated) == (0, request)
