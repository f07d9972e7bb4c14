"""The commands that show something: what is asked, and how the answer is shown."""

from __future__ import annotations

import importlib.metadata
import json
from datetime import UTC, datetime, timedelta

from client.scripted import EXECUTION, RULE, RUN, STATE, STEP, Run
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2

from zart.v1 import admin_service_pb2 as admin
from zart.v1 import audit_service_pb2 as audit
from zart.v1 import error_reason_pb2, refusal_pb2
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution


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
    by_hand = audit.Operation(
        kind=audit.OPERATION_KIND_COMPLETE_STEP,
        replaced=audit.OperationReplaced(step_status=states.STEP_STATUS_PAUSED),
    )
    hold = audit.RuleHold(rule_id="pr-1", step_name="a", created_by="ann", reason="card down")
    _, out, _, (request, asked) = run(
        "history x",
        ("ListOperations", audit.ListOperationsResponse(operations=[operation, by_hand])),
        ("ListRuleHolds", audit.ListRuleHoldsResponse(holds=[hold])),
    )
    assert (request.execution_id, asked.execution_id) == ("x", "x")
    assert "RETRY_STEP" in out
    assert "DEAD: no" in out
    assert "PAUSED\n" in out
    assert out.splitlines()[-1].split() == ["pr-1", "0", "a", "now", "ann", "card", "down"]
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


def test_a_step_that_is_paused_says_since_when(run: Run) -> None:
    step = states.Step(step_name="a", status=states.STEP_STATUS_PAUSED)
    holds = [
        audit.RuleHold(rule_id="pr-2", step_name="b", held_from=Timestamp(seconds=1)),
        audit.RuleHold(rule_id="pr-1", step_name="a", held_from=Timestamp(seconds=86_400)),
        audit.RuleHold(
            rule_id="pr-0",
            step_name="a",
            held_from=Timestamp(seconds=2),
            held_until=Timestamp(seconds=3),
        ),
    ]
    _, out, _, (_, asked) = run(
        "status x a",
        ("GetStep", execution.GetStepResponse(step=step)),
        ("ListRuleHolds", audit.ListRuleHoldsResponse(holds=holds)),
    )
    assert asked.execution_id == "x"
    assert "paused    1970-01-02 00:00:00Z" in out.splitlines()


def test_audit_shows_ages_whom_and_why_not(run: Run) -> None:
    at = Timestamp()
    at.FromDatetime(datetime.now(UTC) - timedelta(minutes=3, seconds=5))
    refused = audit.Operation(
        operation_id="2",
        kind=audit.OPERATION_KIND_RETRY_STEP,
        status=audit.OPERATION_STATUS_REFUSED,
        refusal=refusal_pb2.Refusal(
            reason=error_reason_pb2.ERROR_REASON_STEP_NOT_DEAD,
            code=code_pb2.FAILED_PRECONDITION,
            message="step 'a' is PAUSED, not DEAD",
        ),
        execution_id="x",
        step_name="a",
        triggered_by="bob",
        incident="INC-7",
        created_at=at,
    )
    done = audit.Operation(
        operation_id="1",
        kind=audit.OPERATION_KIND_PAUSE,
        status=audit.OPERATION_STATUS_DONE,
        task_name="t",
        rule_id="pr-1",
        triggered_by="ann",
        reason="card service down",
        created_at=at,
    )
    answer = audit.ListOperationsResponse(operations=[refused, done])
    _, out, _, (request,) = run("audit --incident INC-7 --all", ("ListOperations", answer))
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["AGE", "WHAT", "STATUS", "ON", "BY", "INCIDENT", "WHY"]
    assert lines[1][:6] == ["3m", "RETRY_STEP", "REFUSED", "x/a", "bob", "INC-7"]
    assert "STEP_NOT_DEAD: step 'a' is PAUSED, not DEAD" in out
    assert lines[2] == ["3m", "PAUSE", "t", "pr-1", "ann", "card", "service", "down"]
    assert len(request.statuses) == 3
    assert not request.HasField("created_after")  # however long ago the incident was


def test_audit_tells_how_rules_let_steps_go(run: Run) -> None:
    resume = audit.OPERATION_KIND_RESUME
    operations = [
        audit.Operation(kind=kind, made=made, reason="it is back")
        for kind, made in (
            (resume, audit.OperationMade(canary=5, released_steps=4)),
            (resume, audit.OperationMade(rate_per_second=40)),
            (audit.OPERATION_KIND_RELEASE_END, audit.OperationMade(released_steps=1200)),
        )
    ]
    operations[1].replaced.rate_per_second = 0.5
    answer = audit.ListOperationsResponse(operations=operations)
    _, out, _, _ = run("audit", ("ListOperations", answer))
    assert "canary 5: 4 steps let go · it is back" in out
    assert "40/s, 0.5/s before · it is back" in out
    assert "1200 steps let go · it is back" in out


def test_audit_asks_for_no_more_than_there_is_to_see(run: Run) -> None:
    nothing = audit.ListOperationsResponse()
    _, _, _, (request,) = run("audit --refused", ("ListOperations", nothing))
    assert list(request.statuses) == [audit.OPERATION_STATUS_REFUSED]
    _, _, err, (request,) = run("audit", ("ListOperations", nothing))
    assert err == ""
    age = datetime.now(UTC) - request.created_after.ToDatetime(tzinfo=UTC)
    assert timedelta(days=7) <= age < timedelta(days=7, minutes=5)
    _, _, err, (request,) = run("audit --until 30d", ("ListOperations", nothing))
    until, since = (time.ToDatetime() for time in (request.created_before, request.created_after))
    assert until - since == timedelta(days=7)
    assert err == f"only since {since:%Y-%m-%d %H:%M:%SZ}: --since says otherwise\n"
    _, _, _, (request,) = run("audit --kind start,pause --by bob", ("ListOperations", nothing))
    assert request.HasField("created_after")
    assert list(request.kinds) == [audit.OPERATION_KIND_START, audit.OPERATION_KIND_PAUSE]
    assert "only since" in run("audit --kind pause", ("ListOperations", nothing))[2]
    _, _, err, (request,) = run("audit --since 2h --rule-id pr-1", ("ListOperations", nothing))
    assert (err, request.rule_id) == ("", "pr-1")
    assert request.HasField("created_after")
    for bad in ("audit --kind nosuch", "audit --refused --all", "audit --since soon"):
        assert run(bad)[0] == 2


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
    told = [
        execution.RunExecutionResponse(started=started),
        execution.RunExecutionResponse(state=message),
    ]
    code, _, _, (request,) = run("start order --wait", ("RunExecution", told))
    assert (code, request.start.task_name) == (4, "order")
    assert request.start.request_id


def test_results_are_printed_as_they_were_stored(run: Run) -> None:
    result = '{"a":1,"a":12345678901234567.89}'
    good = states.Run(run_id="x:run:0", status=states.RUN_STATUS_COMPLETED, result_json=result)
    done = execution.WatchExecutionResponse(execution=EXECUTION, run=good)
    assert run("wait x", ("WatchExecution", [done]))[1] == f"{result}\n"
    assert f"result: {result}\n" in run("watch x", ("WatchExecution", [done]))[1]
    state = execution.GetExecutionResponse(execution=EXECUTION, run=good)
    assert f"result    {result}\n" in run("status x", ("GetExecution", state))[1]


def test_times_are_dates_moments_and_ages(run: Run) -> None:
    page = execution.ListExecutionsResponse()
    line = "list --created-before 2h --created-after '2020-01-31 14:00:00.123456Z'"
    _, _, _, (request,) = run(line, ("ListExecutions", page))
    ago = datetime.now(UTC) - request.created_before.ToDatetime(UTC)
    assert timedelta(hours=2) <= ago < timedelta(hours=2, minutes=5)
    assert request.created_after.ToJsonString() == "2020-01-31T14:00:00.123456Z"
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
