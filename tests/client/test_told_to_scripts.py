"""What scripts are told: exit codes that stay, whoever reads, and errors that are JSON only."""

from __future__ import annotations

import json
import os
import sys

import grpc
import pytest
from client.answering import answering, filled
from client.scripted import EXECUTION, RUN, Run, Script, refusal
from client.test_control_characters import LINES
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import code_pb2
from terminal import zart_command

from zart.cli.main import main
from zart.v1 import audit_service_pb2 as audit
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution


def failing(method: MethodDescriptor, _context: grpc.ServicerContext) -> Message:
    """Answer of runs that are FAILED."""
    return filled(method.output_type, "x", "{}", status=states.RUN_STATUS_FAILED)


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
