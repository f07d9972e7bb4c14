"""What scripts are told: exit codes that stay, whoever reads, and errors that are JSON only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from client.answering import answering, filled
from client.scripted import EXECUTION, RUN, Run, Script, refusal
from client.test_control_characters import LINES
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import code_pb2
from terminal import zart_command
from waiting import GIVE_UP

import zart.cli
from zart.cli.main import main
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import audit_service_pb2 as audit
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution
from zart.v1 import in_doubt_pb2 as in_doubt


def failing(method: MethodDescriptor, _context: grpc.ServicerContext) -> Message:
    """Answer of runs that are FAILED."""
    return filled(method.output_type, "x", "{}", status=states.RUN_STATUS_FAILED)


def with_rule_that_stands(method: MethodDescriptor, context: grpc.ServicerContext) -> Message:
    """Answer of a pause rule that nobody has ended."""
    message = failing(method, context)
    if isinstance(message, admin.GetPauseRuleResponse):
        message.rule.ClearField("deleted_at")
    return message


def refusing(_method: MethodDescriptor, context: grpc.ServicerContext) -> Message:
    """Refuse."""
    context.abort(grpc.StatusCode.NOT_FOUND, "no such execution")
    raise AssertionError


def starting_only(method: MethodDescriptor, context: grpc.ServicerContext) -> Message:
    """Start, and let nobody watch."""
    return (
        failing(method, context) if method.name == "StartExecution" else refusing(method, context)
    )


def code_unread(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run a command whose standard error nobody reads any more; gives its exit code."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        return main(arguments)


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_reader_who_leaves_does_not_change_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    nobody = ["--address", "127.0.0.1:1", "--timeout", "0.1", "-o", output]
    assert code_unread(monkeypatch, *nobody, "restart", "x", "--yes") == 3
    assert code_unread(monkeypatch, "-o", output, "restart") == 2
    with answering(refusing) as address:
        assert code_unread(monkeypatch, "--address", address, "-o", output, "status", "x") == 1
    with answering(failing) as address:
        assert code_unread(monkeypatch, "--address", address, "-o", output, "wait", "x") == 4


def test_a_start_whose_wait_is_refused_tells_scripts_a_status_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with answering(starting_only) as address:
        told = zart_command(
            monkeypatch, ["--address", address, "-o", "json", "start", "x", "--wait"]
        )
    assert (told.code, told.out) == (1, "")
    assert json.loads(told.err)["message"] == "no such execution"


def test_a_script_whose_command_is_refused_reads_a_status_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ZART_INCIDENT", "INC-7")
    with answering(refusing) as address:
        for line in LINES.values():
            told = zart_command(monkeypatch, ["--address", address, "-o", "json", *line])
            assert (told.code, told.out) == (1, ""), line
            assert "no such execution" in json.loads(told.err)["message"], line


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("exempt pr-1 y", "nothing of y: nothing was done"),
        ("exempt --undo pr-1 y", "pr-1 does not exempt y: nothing was done"),
    ],
)
def test_what_a_command_refuses_by_itself_is_a_status_to_scripts(
    monkeypatch: pytest.MonkeyPatch, line: str, why: str
) -> None:
    with answering(with_rule_that_stands) as address:
        told = zart_command(monkeypatch, ["--address", address, "-o", "json", *line.split()])
    status = json.loads(told.err)
    assert (told.code, told.out, status["code"]) == (1, "", code_pb2.FAILED_PRECONDITION)
    assert status["message"].endswith(why)


def test_which_of_several_attempts_in_doubt_is_meant_is_asked_of_scripts_by_a_status(
    run: Run,
) -> None:
    items: list[Any] = [filled(in_doubt.InDoubtAttempt.DESCRIPTOR, "x", "{}") for _ in range(2)]
    items[1].attempt = 3
    answer = ("ListInDoubt", admin.ListInDoubtResponse(items=items))
    code, out, err, _ = run("resolve x x happened -o json", answer)
    assert (code, out) == (1, "")
    assert json.loads(err)["message"].endswith("--run 2 --attempt 2, --run 2 --attempt 3")


# They run something, and answer nothing in JSON.
PROCESSES = {"dispatch.py", "gateway.py", "processes.py"}


def test_what_commands_say_on_standard_error_asks_whether_a_script_reads_it() -> None:
    """As Session.tell and Session.warn do, and what refuses."""
    files = Path(zart.cli.__path__[0]).glob("*.py")
    printing = {file.name for file in files if "err.line(" in file.read_text()}
    assert printing == {"session.py", "problems.py"} | PROCESSES


def test_a_person_who_wants_json_is_told_the_incident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZART_INCIDENT", "INC-7")
    with answering(failing) as address:
        line = ["--address", address, "-o", "json", "cancel", "x", "--yes"]
        assert zart_command(monkeypatch, line, columns=80).out.startswith("incident: INC-7\n")


def test_a_person_is_told_at_once_what_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(failing) as address:
        line = ["--address", address, "-o", "json", "start", "x", "--wait"]
        assert zart_command(monkeypatch, line, columns=80).out.startswith("x\n")


def test_who_waited_is_told_all_steps_and_not_those_that_changed_last(run: Run) -> None:
    steps = [
        states.Step(step_name=name, status=states.STEP_STATUS_COMPLETED, attempts=[attempt])
        for name in ("a", "b")
        for attempt in [states.Attempt(attempt=1, status=states.ATTEMPT_STATUS_COMPLETED)]
    ]
    done = states.Run(
        run_id="x:run:3", run_number=3, status=states.RUN_STATUS_COMPLETED, result_json="7"
    )
    first = execution.WatchExecutionResponse(execution=EXECUTION, run=RUN, steps=steps)
    last = execution.WatchExecutionResponse(execution=EXECUTION, run=done, steps=steps[1:])
    whole = execution.GetExecutionResponse(execution=EXECUTION, run=done, steps=steps)
    watched = ("WatchExecution", [first, last])
    followed = (
        "RunExecution",
        [
            execution.RunExecutionResponse(
                started=execution.StartExecutionResponse(execution=EXECUTION)
            ),
            *(execution.RunExecutionResponse(state=state) for state in (first, last)),
        ],
    )
    _, status, _, _ = run("status x -o json", ("GetExecution", whole))
    for line, answer in (("wait x", watched), ("start order --wait", followed)):
        code, out, err, (_, request) = run(f"{line} -o json", answer, ("GetExecution", whole))
        assert (code, out, err) == (0, status, "")
        assert (request.execution_id, request.run_number) == ("x", 3)
        removed = refusal(code_pb2.NOT_FOUND, "EXECUTION_NOT_FOUND", "it was purged")
        code, out, err, _ = run(f"{line} -o json", answer, ("GetExecution", removed))
        told = json.loads(out)
        assert (code, told["run"]["resultJson"], err) == (0, "7", "")


def test_an_export_ends_as_soon_as_its_reader_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``| head -1`` does: it is noticed at the next line, and not only when Python ends."""
    found = execution.GetExecutionResponse(execution=states.Execution(execution_id="x"))
    one = ("GetExecution", found), ("ListOperations", audit.ListOperationsResponse())
    script = Script(*one, *one)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        code = main(["export", "x", "y"], script.open)
    assert code == 141
    assert len(script.requests) == 2  # of y nothing was asked


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is full")
@pytest.mark.parametrize("output", ["table", "json"])
def test_an_answer_that_no_disk_has_room_for_is_told_and_may_be_had_again(output: str) -> None:
    with answering(failing) as address, Path("/dev/full").open("w") as full:
        line = [sys.executable, "-m", "zart.cli", "--address", address, "-o", output]
        done = subprocess.run(
            [*line, "restart", "x", "--reason", "y", "--yes"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=GIVE_UP,
        )
        listed = subprocess.run(
            [*line, "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            timeout=GIVE_UP,
        )  # fmt: skip
    assert done.returncode == listed.returncode == 3
    assert "the output cannot be written: No space left on device" in done.stderr
    assert "--request-id" in done.stderr.splitlines()[-1]  # once only, by that
    assert "Traceback" not in done.stderr + listed.stderr
    assert "the output cannot be written" in listed.stderr
