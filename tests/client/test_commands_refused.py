"""What a command says, and how it ends, where the server refuses it or its words are wrong."""

from __future__ import annotations

import json
import shlex

import pytest
from client.scripted import EXECUTION, Run, refusal
from google.rpc import code_pb2, error_details_pb2, status_pb2

from zart.v1 import audit_service_pb2 as audit
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution


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


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("pause", "--execution-id, --task-name, --step, or --everything"),
        ("pause --everything --step a", "--everything stands alone"),
        ("resume --rule-id pr-1 --step a", "one of --rule-id, --all, or a scope"),
        ("resume --all --task-name t", "one of --rule-id, --all, or a scope"),
        ("batch update ba-1 --rate 10/s --unpaced", "--rate or --unpaced, not both"),
        ("batch update ba-1 --max-failures 5 --any-failures", "--max-failures or --any-failures"),
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


def test_an_export_goes_on_past_what_is_refused_of_one(run: Run) -> None:
    names = [states.Execution(execution_id=name) for name in ("x", "y", "z")]
    found = "ListExecutions", execution.ListExecutionsResponse(executions=names)
    read = execution.GetExecutionResponse(execution=names[2])
    too_large = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="larger than max")
    too_late = refusal(code_pb2.DEADLINE_EXCEEDED, "OPERATION_TIMEOUT", "too late")
    code, out, err, _ = run(
        "export --everything",
        found,
        *(("GetExecution", answer) for answer in (too_large, too_late, read)),
        ("ListOperations", audit.ListOperationsResponse()),
    )
    assert (code, json.loads(out)["executionId"]) == (1, "z")
    assert err.splitlines() == [
        "x is not exported:", "zart: larger than max",
        "y is not exported:", "zart: too late [OPERATION_TIMEOUT]",
    ]  # fmt: skip
    code, out, err, _ = run("export x -o json", ("GetExecution", too_large))
    assert (code, out) == (1, "")
    assert json.loads(err)["message"] == "x is not exported: larger than max"

    for refused, ends in (
        (refusal(code_pb2.PERMISSION_DENIED, "ROLE_REQUIRED", "no"), 1),
        (refusal(code_pb2.UNAVAILABLE, "SHUTTING_DOWN", "no"), 3),
    ):  # what is refused of all ends it at once
        code, out, err, requests = run("export --everything", found, ("GetExecution", refused))
        assert (code, out, len(requests)) == (ends, "", 2)
        assert "is not exported" not in err
