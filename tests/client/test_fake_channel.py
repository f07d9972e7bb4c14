"""The synchronous client and the CLI on grpcio-testing's fake channel: what is sent and shown.

A script answers the calls one by one; each test asserts the request, never the status alone.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import shlex
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc_testing
import pytest
import typer
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

import zart
from zart.cli.flags import PARAMETERS
from zart.cli.main import app, main
from zart.cli.session import Session
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import audit_service_pb2 as audit
from zart.v1 import dispatch_service_pb2 as dispatch
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution
from zart.v1 import pause_rule_pb2 as rules

SERVICES = [
    admin.DESCRIPTOR.services_by_name["AdminService"],
    audit.DESCRIPTOR.services_by_name["AuditService"],
    dispatch.DESCRIPTOR.services_by_name["DispatchService"],
    execution.DESCRIPTOR.services_by_name["ExecutionService"],
]
METHODS = {m.name: m for s in SERVICES for m in s.methods}
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "deploy/README.md", *sorted(ROOT.glob("docs/*.md"))]
OK = (grpc.StatusCode.OK, "")


def refusal(code: int, reason: str, message: str, **metadata: str) -> status_pb2.Status:
    """Make the google.rpc.Status of an error."""
    packed = any_pb2.Any()
    packed.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="zart", metadata=metadata))
    return status_pb2.Status(code=code, message=message, details=[packed])


class Script:
    """Answers calls in order and keeps the requests."""

    def __init__(self, *answers: tuple[str, Message | list[Message] | status_pb2.Status]) -> None:
        self.channel = grpc_testing.channel(SERVICES, grpc_testing.strict_real_time())
        self.requests: list[Any] = []
        self._thread = threading.Thread(target=self._serve, args=(answers,), daemon=True)
        self._thread.start()

    def _serve(self, answers: Any) -> None:
        for name, answer in answers:
            if isinstance(answer, list):
                _, request, rpc = self.channel.take_unary_stream(METHODS[name])
                self.requests.append(request)
                rpc.send_initial_metadata(())
                for message in answer:
                    rpc.send_response(message)
                rpc.terminate((), *OK)
                continue
            _, request, rpc = self.channel.take_unary_unary(METHODS[name])
            self.requests.append(request)
            rpc.send_initial_metadata(())
            if isinstance(answer, status_pb2.Status):
                status = rpc_status.to_status(answer)
                rpc.terminate(None, status.trailing_metadata, status.code, status.details)
            else:
                rpc.terminate(answer, (), *OK)

    def open(self, _address: str | None) -> Any:
        """Stand in for the channel that the CLI opens."""
        return self.channel


Run = Callable[..., tuple[int, str, str, list[Any]]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line against a script: exit code, output, errors, requests."""
    monkeypatch.setenv("ZART_TRIGGERED_BY", "ops")
    monkeypatch.delenv("ZART_ADDRESS", raising=False)

    def runner(line: str, *answers: Any) -> tuple[int, str, str, list[Any]]:
        script = Script(*answers)
        code = main(shlex.split(line), script.open)
        printed = capsys.readouterr()
        return code, printed.out, printed.err, script.requests

    return runner


STEP = states.Step(
    step_name="charge-card",
    status=states.STEP_STATUS_PAUSED,
    waiting_on="pause rule pr-abcd1234 (bob: maintenance)",
    depends_on=["lookup-user"],
    attempt=3,
    max_attempts=6,
)
RUN = states.Run(
    run_id="x:run:1",
    execution_id="x",
    run_number=1,
    status=states.RUN_STATUS_FAILED,
    trigger=states.RUN_TRIGGER_RESTART,
    triggered_by="bob",
    error="charge-card: declined",
)
EXECUTION = states.Execution(
    execution_id="x",
    task_name="order",
    current_run_id="x:run:1",
    current_run_number=1,
    status=states.RUN_STATUS_FAILED,
    waiting_on="",
)
RULE = rules.PauseRule(
    rule_id="pr-abcd1234",
    task_name="order",
    step_pattern="charge-*",
    reason="maintenance",
    created_by="bob",
    status=rules.PAUSE_RULE_STATUS_ACTIVE,
)
STATE = execution.GetExecutionResponse(execution=EXECUTION, run=RUN, steps=[STEP])


def test_the_sync_client_sends_and_parses() -> None:
    script = Script(
        ("RetryStep", admin.RetryStepResponse(run_id="x:run:1", step=STEP)),
        ("Pause", admin.PauseResponse(rule=RULE, paused_steps=3, running_steps=1)),
        ("ListRuns", admin.ListRunsResponse(runs=[RUN], next_page_token="more")),
        ("ListRuns", admin.ListRunsResponse(runs=[RUN])),
    )
    with zart.SyncClient(script.channel, triggered_by="me") as client:
        retried = client.retry_step("x", "charge-card", max_attempts=2, reason="why")
        paused = client.pause(task_name="order", step_pattern="charge-*", expires_in=90)
        listed = list(client.list_runs("x", page_size=1))

    retry, pause, first, second = script.requests
    assert (retry.execution_id, retry.step_name, retry.max_attempts) == ("x", "charge-card", 2)
    assert (retry.triggered_by, retry.reason, len(retry.request_id)) == ("me", "why", 32)
    assert not retry.HasField("run_id")
    assert (pause.task_name, pause.step_pattern, pause.expires_in.seconds) == (
        "order",
        "charge-*",
        90,
    )
    assert not pause.HasField("execution_id")
    assert (first.page_token, second.page_token) == ("", "more")
    assert retried.step.status is zart.StepStatus.PAUSED
    assert (paused.rule_id, paused.paused_steps) == ("pr-abcd1234", 3)
    assert [r.run_number for r in listed] == [1, 1]


def test_resume_alone_is_a_value_error() -> None:
    client = zart.SyncClient(Script().channel)
    with pytest.raises(ValueError, match="everything=True"):
        client.resume()


def test_a_refusal_becomes_its_class() -> None:
    status = refusal(code_pb2.FAILED_PRECONDITION, "STEP_NOT_DEAD", "no", status="COMPLETED")
    client = zart.SyncClient(Script(("RetryStep", status)).channel)
    with pytest.raises(zart.errors.StepNotDead) as refused:
        client.retry_step("x", "a")
    assert refused.value.metadata == {"status": "COMPLETED"}
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION


def test_an_unknown_reason_and_an_unknown_status_do_not_break_an_old_client() -> None:
    status = refusal(code_pb2.ABORTED, "FROM_THE_FUTURE", "new")
    client = zart.SyncClient(Script(("ListRuns", status)).channel)
    with pytest.raises(zart.Refused, match="new"):
        list(client.list_runs("x"))
    future = states.Run(status=99)  # type: ignore[arg-type]
    client = zart.SyncClient(Script(("ListRuns", admin.ListRunsResponse(runs=[future]))).channel)
    assert next(iter(client.list_runs("x"))).status is zart.RunStatus.UNSPECIFIED


def test_retry_step_shows_what_withholds_the_step(run: Run) -> None:
    answer = admin.RetryStepResponse(run_id="x:run:1", step=STEP)
    code, out, _, (request,) = run(
        "retry-step x charge-card --max-attempts 3 --reason 'try again' --request-id r1",
        ("RetryStep", answer),
    )
    assert code == 0
    assert out == "x:run:1/charge-card is PAUSED: pause rule pr-abcd1234 (bob: maintenance)\n"
    assert request == admin.RetryStepRequest(
        execution_id="x",
        step_name="charge-card",
        max_attempts=3,
        triggered_by="ops",
        reason="try again",
        request_id="r1",
    )


def test_restart(run: Run) -> None:
    fenced = states.FencedStep(step_name="a", attempt=2, dispatcher_id="d1")
    answer = admin.RestartResponse(new_run_id="x:run:2", run=RUN, fenced_steps=[fenced])
    code, out, _, (request,) = run(
        """restart x --payload '{"n": 1}' --if-running fail --expect-run 1""", ("Restart", answer)
    )
    assert code == 0
    assert "x:run:2 is FAILED" in out
    assert "a (attempt 2, on d1): its result will be refused" in out
    assert (request.payload_json, request.expected_run_number) == ('{"n": 1}', 1)
    assert request.if_running == admin.IF_RUNNING_FAIL
    _, _, _, (request,) = run("restart x", ("Restart", answer))
    assert request.WhichOneof("payload_kind") is None


def test_rerun_dry_run(run: Run) -> None:
    answer = admin.RerunResponse(
        new_run_number=2,
        effective_rerun=["a"],
        preserved=["b"],
        potentially_stale=[
            admin.PotentiallyStale(preserved_step="b", possibly_depends_on=["a"]),
        ],
        plan_token="tok",
    )
    code, out, _, (request,) = run(
        "rerun x --rerun a,c --rerun d --preserve b --include-downstream --dry-run",
        ("Rerun", answer),
    )
    assert code == 0
    assert "would make run 2" in out
    assert "b: it may rest on a" in out
    assert "--plan-token tok" in out
    assert (list(request.force_rerun), list(request.preserve)) == (["a", "c", "d"], ["b"])
    assert request.include_downstream
    assert request.validate_only


def test_pause_and_resume(run: Run) -> None:
    answer = admin.PauseResponse(rule=RULE, paused_steps=10_000, paused_steps_is_lower_bound=True)
    code, out, _, (request,) = run(
        "pause --task-name order --step 'charge-*' --for 1h30m", ("Pause", answer)
    )
    assert code == 0
    assert "pr-abcd1234 pauses task=order step=charge-*" in out
    assert "10000 or more" in out
    assert (request.expires_in.seconds, request.everything) == (5400, False)
    _, _, _, (request,) = run("pause --everything", ("Pause", answer))
    assert request.everything

    done = admin.ResumeResponse(rules_deleted=1, rules=[RULE], released_steps=2)
    code, out, _, (request,) = run("resume --rule-id pr-abcd1234", ("Resume", done))
    assert code == 0
    assert "deleted   1 rules" in out
    assert (request.rule_id, request.everything) == ("pr-abcd1234", False)
    _, _, _, (request,) = run("resume --all", ("Resume", done))
    assert request.everything


def test_resume_of_everything_needs_all_without_a_terminal(run: Run) -> None:
    code, _, err, requests = run("resume")
    assert code == 2
    assert "--all" in err
    assert requests == []


def test_lists_print_tables_and_json(run: Run) -> None:
    page = execution.ListExecutionsResponse(executions=[EXECUTION])
    code, out, _, (request,) = run(
        "list --status failed,running --step-status dead --task-name order",
        ("ListExecutions", page),
    )
    assert code == 0
    # Nothing was created or waits for anything, so those columns are left out.
    assert out.splitlines()[0].split() == ["EXECUTION", "TASK", "RUN", "STATUS"]
    assert out.splitlines()[1].split()[:4] == ["x", "order", "1", "FAILED"]
    assert list(request.statuses) == [states.RUN_STATUS_FAILED, states.RUN_STATUS_RUNNING]
    assert list(request.step_statuses) == [states.STEP_STATUS_DEAD]
    assert request.task_name == "order"

    _, out, _, _ = run("list -o json", ("ListExecutions", page))
    assert json.loads(out)["executions"][0]["currentRunNumber"] == 1


def test_a_list_says_where_more_is(run: Run) -> None:
    page = execution.ListExecutionsResponse(executions=[EXECUTION], next_page_token="t")
    code, _, err, (request,) = run("list --limit 1", ("ListExecutions", page))
    assert (code, request.page_size) == (0, 1)
    assert "--limit" in err


def test_status_prints_waiting_on(run: Run) -> None:
    code, out, _, (request,) = run("status x --run 1", ("GetExecution", STATE))
    assert code == 0
    assert "x:run:1  FAILED  (RESTART)" in out
    assert "pause rule pr-abcd1234 (bob: maintenance)" in out
    assert request.run_number == 1
    assert "\x1b" not in out
    _, out, _, _ = run("--output json status x", ("GetExecution", STATE))
    assert json.loads(out)["steps"][0]["stepName"] == "charge-card"


def test_nothing_is_cut_where_no_terminal_is(run: Run) -> None:
    long = states.Execution(execution_id="e" * 255, task_name="t" * 255)
    _, out, _, _ = run(
        "list", ("ListExecutions", execution.ListExecutionsResponse(executions=[long]))
    )
    assert "e" * 255 in out
    assert "t" * 255 in out


def test_history_runs_tasks_and_pause_list(run: Run) -> None:
    operation = audit.Operation(
        operation_id="1",
        kind=audit.OPERATION_KIND_RETRY_STEP,
        run_number=1,
        step_name="a",
        triggered_by="bob",
        replaced=audit.OperationReplaced(
            step_status=states.STEP_STATUS_DEAD, step_error=states.StepError(message="no")
        ),
    )
    _, out, _, (request,) = run(
        "history x", ("ListOperations", audit.ListOperationsResponse(operations=[operation]))
    )
    assert request.execution_id == "x"
    assert "RETRY_STEP" in out
    assert "DEAD: no" in out
    _, out, _, _ = run("runs x", ("ListRuns", admin.ListRunsResponse(runs=[RUN])))
    assert "charge-card: declined" in out
    _, out, _, (request,) = run(
        "pause-list --task-name order --include-deleted",
        ("ListPauseRules", admin.ListPauseRulesResponse(rules=[RULE])),
    )
    assert request.include_deleted
    assert "task=order step=charge-*" in out
    _, out, _, _ = run("tasks", ("ListTaskDefinitions", execution.ListTaskDefinitionsResponse()))
    assert "TASK" in out


def test_start(run: Run, tmp_path: Any) -> None:
    (tmp_path / "p.json").write_text('{"n": 9007199254740993}')
    answer = execution.StartExecutionResponse(execution=EXECUTION)
    code, _, _, (request,) = run(
        f"start order --execution-id x --payload @{tmp_path}/p.json --if-exists return",
        ("StartExecution", answer),
    )
    assert code == 0
    assert (request.task_name, request.execution_id) == ("order", "x")
    assert request.payload_json == '{"n": 9007199254740993}'
    assert request.if_exists == execution.IF_EXISTS_RETURN


def test_wait_and_watch_end_with_4_when_the_run_failed(run: Run) -> None:
    message = execution.WatchExecutionResponse(execution=EXECUTION, run=RUN, steps=[STEP])
    code, _, err, (request,) = run("wait x", ("WatchExecution", [message]))
    assert code == 4
    assert "x:run:1 ended FAILED: charge-card: declined" in err
    assert not request.HasField("run_number")
    code, out, _, _ = run("watch x", ("WatchExecution", [message]))
    assert code == 4
    assert "x:run:1 is FAILED" in out

    good = states.Run(run_id="x:run:0", status=states.RUN_STATUS_COMPLETED, result_json='{"n": 1}')
    done = execution.WatchExecutionResponse(execution=EXECUTION, run=good)
    code, out, _, _ = run("wait x", ("WatchExecution", [done]))
    assert (code, json.loads(out)) == (0, {"n": 1})
    started = execution.StartExecutionResponse(execution=EXECUTION)
    code, _, _, requests = run(
        "start order --wait", ("StartExecution", started), ("WatchExecution", [message])
    )
    assert (code, len(requests)) == (4, 2)


def test_no_error_can_look_like_a_line_of_ours(run: Run) -> None:
    failed = states.Step(
        step_name="a",
        status=states.STEP_STATUS_DEAD,
        last_error=states.StepError(message="no\nx is COMPLETED"),
    )
    forged = states.Run(run_id="x", status=states.RUN_STATUS_FAILED, error="no\nx is COMPLETED")
    message = execution.WatchExecutionResponse(execution=EXECUTION, run=forged, steps=[failed])
    state = execution.GetExecutionResponse(execution=EXECUTION, run=forged, steps=[failed])
    for line, method, answer in (
        ("watch x", "WatchExecution", [message]),
        ("wait x", "WatchExecution", [message]),
        ("status x", "GetExecution", state),
    ):
        _, out, err, _ = run(line, (method, answer))
        assert "x is COMPLETED" in out + err
        assert "x is COMPLETED" not in (out + err).splitlines()


def test_a_refusal_ends_with_1_and_says_why(run: Run) -> None:
    status = refusal(code_pb2.NOT_FOUND, "EXECUTION_NOT_FOUND", "no execution 'x'")
    code, out, err, _ = run("cancel x", ("CancelExecution", status))
    assert (code, out) == (1, "")
    assert err == "zart: no execution 'x' [EXECUTION_NOT_FOUND]\n"
    code, _, err, _ = run("cancel x -o json", ("CancelExecution", status))
    assert code == 1
    assert json.loads(err)["details"][0]["reason"] == "EXECUTION_NOT_FOUND"


def test_a_detail_from_the_future_is_left_out_of_json(run: Run) -> None:
    status = refusal(code_pb2.ABORTED, "FROM_THE_FUTURE", "new")
    status.details.add(type_url="type.googleapis.com/zart.v1.NotYet", value=b"")
    code, _, err, _ = run("cancel x -o json", ("CancelExecution", status))
    assert code == 1
    assert [detail["reason"] for detail in json.loads(err)["details"]] == ["FROM_THE_FUTURE"]


def test_an_unknown_outcome_ends_with_3_and_the_command_to_repeat(run: Run) -> None:
    status = refusal(code_pb2.UNAVAILABLE, "STORE_UNAVAILABLE", "down")
    code, _, err, (request,) = run("restart x --reason 'a b'", ("Restart", status))
    assert code == 3
    last = err.splitlines()[-1]
    assert shlex.split(last) == [
        "zart", "restart", "x", "--reason", "a b",
        "--request-id", request.request_id, "--triggered-by", "ops",
    ]  # fmt: skip
    code, _, again, (repeated,) = run(shlex.join(shlex.split(last)[1:]), ("Restart", status))
    assert repeated == request
    assert again.splitlines()[-1] == last


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "list --status nope",
        "retry-step x",
        "pause --for soon --everything",
        "start order --payload {",
        "start order --payload @/nowhere",
        "restart x --if-running maybe",
        "serve",
        "migrate",
        "dispatch no_such_module_here",
        "dispatch json",
        "retry-step x a --max-attempts 0",
    ],
)
def test_usage_errors_end_with_2_and_send_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.delenv("ZART_DATABASE_URL", raising=False)
    code, _, err, requests = run(line)
    assert code == 2
    assert line == "" or err
    assert requests == []


def test_serve_without_a_database_names_what_to_do(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZART_DATABASE_URL", raising=False)
    for line in ("serve", "migrate"):
        _, _, err, _ = run(line)
        assert "--database-url" in err
        assert "zart dev" in err


@pytest.mark.parametrize("payload", ["12345678901234567.89", '{"a":1,"a":2}', '{"n": 1.50e300}'])
def test_a_payload_goes_as_it_was_given(run: Run, payload: str) -> None:
    answer = execution.StartExecutionResponse(execution=EXECUTION)
    _, _, _, (request,) = run(f"start order --payload '{payload}'", ("StartExecution", answer))
    assert request.payload_json == payload
    again = admin.RestartResponse(new_run_id="x:run:2", run=RUN)
    _, _, _, (request,) = run(f"restart x --payload '{payload}'", ("Restart", again))
    assert request.payload_json == payload


@pytest.mark.parametrize("payload", ["NaN", "1e400", "-Infinity", "{'a': 1}", "1 2", "[" * 100_000])
def test_a_payload_that_is_no_json_is_not_sent(run: Run, payload: str) -> None:
    code, _, err, requests = run(f"start order --payload={shlex.quote(payload)}")
    assert (code, requests) == (2, [])
    assert "--payload" in err


def test_results_are_printed_as_they_were_stored(run: Run) -> None:
    result = '{"a":1,"a":12345678901234567.89}'
    good = states.Run(run_id="x:run:0", status=states.RUN_STATUS_COMPLETED, result_json=result)
    done = execution.WatchExecutionResponse(execution=EXECUTION, run=good)
    assert run("wait x", ("WatchExecution", [done]))[1] == f"{result}\n"
    assert f"result: {result}\n" in run("watch x", ("WatchExecution", [done]))[1]
    state = execution.GetExecutionResponse(execution=EXECUTION, run=good)
    assert f"result    {result}\n" in run("status x", ("GetExecution", state))[1]


def test_start_and_wait_tells_the_id_first(run: Run) -> None:
    made = states.Execution(execution_id="made-by-the-server", current_run_id="made:run:0")
    started = execution.StartExecutionResponse(execution=made)
    good = states.Run(
        run_id="made:run:0",
        execution_id="made-by-the-server",
        status=states.RUN_STATUS_COMPLETED,
        result_json="7",
    )
    done = execution.WatchExecutionResponse(execution=made, run=good)
    answers = ("StartExecution", started), ("WatchExecution", [done])
    _, out, _, _ = run("start order --wait", *answers)
    assert out.splitlines() == ["made:run:0 is UNSPECIFIED", "7"]
    _, out, err, _ = run("start order --wait -o json", *answers)
    assert err == ""  # for scripts: JSON only, which has the id
    told = json.loads(out)
    assert (told["run"]["resultJson"], told["run"]["executionId"]) == ("7", "made-by-the-server")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("pause", "--execution-id, --task-name, --step, or --everything"),
        ("pause --everything --step a", "--everything stands alone"),
        ("resume --rule-id pr-1 --step a", "one of --rule-id, --all, or a scope"),
        ("resume --all --task-name t", "one of --rule-id, --all, or a scope"),
        ("pause --everything --for 99999999999d", "--for"),
        ("pause --everything --for 9999999d", "--for"),
        ("retry-step x a --max-attempts 2147483648", "--max-attempts"),
        ("restart x --expect-run 2147483648", "--expect-run"),
        ("status x --run 99999999999", "--run"),
        ("list --created-after yesterday", "--created-after"),
        ("list --created-before 99999999d", "--created-before"),
        ("list --created-after 2026-01-31T14:00:00.1234567Z", "finer than a microsecond"),
    ],
)
def test_wrong_usage_is_told_in_flags_and_nothing_is_sent(run: Run, line: str, said: str) -> None:
    code, _, err, requests = run(line)
    assert (code, requests) == (2, [])
    assert said in err
    assert "execution_id" not in err
    assert "step_pattern" not in err


def test_a_refused_field_is_told_as_its_flag(run: Run) -> None:
    violation = error_details_pb2.BadRequest.FieldViolation
    bad = error_details_pb2.BadRequest(
        field_violations=[
            violation(field="preserve[0]", description="'b' is in force_rerun as well"),
            violation(field="expected_run_number", description="must be at least 0"),
            violation(field="execution_id", description="has a control character"),
        ]
    )
    status = refusal(code_pb2.INVALID_ARGUMENT, "INVALID_FIELD", "preserve[0]: it's in both")
    status.details.add().Pack(bad)
    code, _, err, _ = run("rerun x --rerun b --preserve b", ("Rerun", status))
    assert code == 1
    assert err.splitlines() == [
        "zart: --preserve: 'b' is in --rerun as well [INVALID_FIELD]",
        "zart: --expect-run: must be at least 0 [INVALID_FIELD]",
        "zart: EXECUTION_ID: has a control character [INVALID_FIELD]",
    ]


NOT_ON_THE_COMMAND_LINE = {"page_token", "steps", "kind"}


@pytest.mark.parametrize(
    ("command", "method"),
    [
        ("start", "StartExecution"), ("list", "ListExecutions"), ("status", "GetStep"),
        ("status", "GetExecution"), ("watch", "WatchExecution"), ("cancel", "CancelExecution"),
        ("tasks", "ListTaskDefinitions"), ("retry-step", "RetryStep"), ("restart", "Restart"),
        ("rerun", "Rerun"), ("pause", "Pause"), ("resume", "Resume"), ("runs", "ListRuns"),
        ("pause-list", "ListPauseRules"), ("history", "ListOperations"),
    ],
)  # fmt: skip
def test_every_field_has_a_flag(command: str, method: str) -> None:
    parameters = {p.name for p in COMMANDS[command].params}
    for field in METHODS[method].input_type.fields:
        name = PARAMETERS.get(field.name, field.name)
        assert name in parameters or field.name in NOT_ON_THE_COMMAND_LINE, field.name


def test_every_help_ends_with_an_example_that_the_command_takes(run: Run) -> None:
    for name, command in COMMANDS.items():
        _, out, _, _ = run(f"{name} --help")
        words = shlex.split(out.strip().splitlines()[-1])
        assert words[:3] == ["Example:", "zart", name]
        with command.make_context(name, words[3:], obj=Session()):
            pass
    assert run("--help")[1].strip().endswith("Example: zart list --status failed")


def test_times_are_dates_moments_and_ages(run: Run) -> None:
    page = execution.ListExecutionsResponse()
    line = "list --created-after 2h --created-before '2026-01-31 14:00:00.123456Z'"
    _, _, _, (request,) = run(line, ("ListExecutions", page))
    ago = datetime.now(UTC) - request.created_after.ToDatetime(UTC)
    assert timedelta(hours=2) <= ago < timedelta(hours=2, minutes=5)
    assert request.created_before.ToJsonString() == "2026-01-31T14:00:00.123456Z"
    line = "list --created-after 2026-01-31 --created-before 2026-01-31T14:00+02:00"
    _, _, _, (request,) = run(line, ("ListExecutions", page))
    assert request.created_after.ToJsonString() == "2026-01-31T00:00:00Z"
    assert request.created_before.ToJsonString() == "2026-01-31T12:00:00Z"


def test_what_is_zero_is_there_in_json(run: Run) -> None:
    first = states.Run(run_id="x:run:0", status=states.RUN_STATUS_SCHEDULED)
    _, out, _, _ = run("runs x -o json", ("ListRuns", admin.ListRunsResponse(runs=[first])))
    assert json.loads(out)["runs"][0]["runNumber"] == 0
    state = execution.GetExecutionResponse(execution=EXECUTION, run=first)
    _, out, _, _ = run("status x -o json", ("GetExecution", state))
    assert json.loads(out)["run"]["runNumber"] == 0
    _, out, _, _ = run("runs x -o json", ("ListRuns", admin.ListRunsResponse()))
    assert json.loads(out) == {"runs": [], "nextPageToken": ""}


def test_the_version_is_told(run: Run) -> None:
    code, out, _, _ = run("--version")
    assert (code, out) == (0, f"zart {importlib.metadata.version('zart-control')}\n")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documented_lines_are_ones_that_zart_takes(document: Path) -> None:
    lines = re.findall(
        r"^(?:\S+=\S+ )*(?:\.venv/bin/)?zart (.*?)(?: [>&].*)?$", document.read_text(), re.MULTILINE
    )
    for line in lines:
        name, *words = shlex.split(line.replace("…", "X"), comments=True)
        with COMMANDS[name].make_context(name, words, obj=Session()):
            pass
