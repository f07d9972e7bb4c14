"""The commands that change something: what is sent, and how the answer is shown."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from client.scripted import EXECUTION, RULE, RUN, STATE, STEP, Run, refusal

from zart.v1 import admin_service_pb2 as admin
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution
from zart.v1 import pause_rule_pb2 as rules
from zart.v1 import retention_service_pb2 as retention


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
    answer = admin.RestartResponse(new_run_id="x:run:1", run=RUN, fenced_steps=[fenced])
    code, out, _, (request,) = run(
        """restart x --payload '{"n": 1}' --if-running fail --expect-run 1""", ("Restart", answer)
    )
    assert code == 0
    assert "x:run:1 is FAILED" in out
    assert "a (attempt 2, on d1): its result will be refused" in out
    assert (request.payload_json, request.expected_run_number) == ('{"n": 1}', 1)
    assert request.if_running == admin.IF_RUNNING_FAIL
    _, _, _, (request,) = run("restart x", ("Restart", answer))
    assert request.WhichOneof("payload_kind") is None


def test_purge_goes_on_until_nothing_is_left(run: Run) -> None:
    def removed(task_name: str, count: int, kept: int, token: str = "") -> tuple[str, Any]:
        task = retention.PurgedTask(
            task_name=task_name, removed_executions=count, kept_executions=kept
        )
        return "PurgeExecutions", retention.PurgeExecutionsResponse(
            tasks=[task], is_partial=bool(token), next_page_token=token
        )

    answers = removed("a", 0, 7, "1"), removed("a", 2, 1, "2"), removed("b", 3, 0)
    code, out, err, requests = run("purge --older-than 9d --yes --request-id r", *answers)
    assert code == 0
    assert [(request.page_token, request.request_id == "r") for request in requests] == [
        ("", True), ("1", False), ("2", False),
    ]  # fmt: skip
    assert "a: 2 removed, 8 kept\nb: 3 removed\n5 removed, 8 kept" in out
    assert err.splitlines() == ["removed 0 …"]  # and so on, every two seconds
    code, out, _, _ = run("purge --older-than 9d --yes -o json", *answers)
    assert [task["removedExecutions"] for task in json.loads(out)["tasks"]] == ["2", "3"]


def test_rerun_dry_run(run: Run) -> None:
    answer = admin.RerunResponse(
        new_run_number=2,
        effective_rerun=["a"],
        preserved=["b"],
        potentially_stale=[
            admin.PotentiallyStale(preserved_step="b", possibly_depends_on=["a"]),
            admin.PotentiallyStale(preserved_step="e", depends_on_payload=True),
        ],
        plan_token="tok",
        planned=True,
    )
    code, out, _, (request,) = run(
        "rerun x --rerun a,c --rerun d --preserve b --include-downstream --dry-run"
        """ --input 'a={"to": "x=y"}' --input c=2 --payload 7""",
        ("Rerun", answer),
    )
    assert code == 0
    assert "would make run 2" in out
    assert "b: it may rest on a" in out
    assert "e: it may rest on another payload" in out
    assert out.splitlines()[-1] == (
        "zart rerun x --rerun a,c --rerun d --preserve b --include-downstream --plan-token tok"
        """ --input 'a={"to": "x=y"}' --input c=2 --payload 7"""
    )
    inputs = [(item.step_name, item.input_json) for item in request.inputs]
    assert inputs == [("a", '{"to": "x=y"}'), ("c", "2")]
    assert request.payload_json == "7"
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
    assert "deleted   1 rule\n" in out
    assert (request.rule_id, request.everything) == ("pr-abcd1234", False)
    _, _, _, (request,) = run("resume --all", ("Resume", done))
    assert request.everything


def test_resume_of_everything_needs_all_without_a_terminal(run: Run) -> None:
    code, _, err, requests = run("resume")
    assert code == 2
    assert "--all" in err
    assert requests == []


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
    told = [
        execution.RunExecutionResponse(started=started),
        execution.RunExecutionResponse(state=done),
    ]
    answers = [("RunExecution", told)]
    _, out, _, _ = run("start order --wait", *answers)
    assert out.splitlines() == ["made:run:0 is UNSPECIFIED", "7"]
    whole = ("GetExecution", execution.GetExecutionResponse(execution=made, run=good))
    _, out, err, _ = run("start order --wait -o json", *answers, whole)
    assert err == ""  # for scripts: JSON only, which has the id
    printed = json.loads(out)
    assert (printed["run"]["resultJson"], printed["run"]["executionId"]) == (
        "7",
        "made-by-the-server",
    )


def test_the_incident_is_sent_and_echoed_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = admin.PauseResponse(rule=RULE)
    _, _, err, (request,) = run("pause --task-name order --incident INC-7", ("Pause", answer))
    assert request.incident == "INC-7"
    assert err.count("INC-7") == 1
    monkeypatch.setenv("ZART_INCIDENT", "INC-8")
    _, _, err, (request,) = run("pause --task-name order", ("Pause", answer))
    assert request.incident == "INC-8"
    assert err == "incident: INC-8\n"
    code, out, err, _ = run("pause --task-name order -o json", ("Pause", answer))
    assert (code, json.loads(out)["rule"]["ruleId"]) == (0, "pr-abcd1234")
    assert err == "incident: INC-8\n"
    _, _, err, _ = run("pause-list", ("ListPauseRules", admin.ListPauseRulesResponse()))
    assert "INC-8" not in err


def test_exempt_checks_that_the_executions_exist(run: Run) -> None:
    known = "GetPauseRule", admin.GetPauseRuleResponse(rule=RULE)
    there = "GetExecution", STATE
    answer = admin.UpdatePauseRuleResponse(rule=RULE, released_steps=2)
    code, out, _, requests = run(
        "exempt pr-abcd1234 x y --reason try",
        known,
        there,
        there,
        ("UpdatePauseRule", answer),
    )
    assert (code, out) == (0, "pr-abcd1234 exempts x, y\nreleased 2 steps\n")
    assert list(requests[-1].add_exempt_execution_ids) == ["x", "y"]
    assert (requests[-1].rule_id, requests[-1].reason) == ("pr-abcd1234", "try")

    missing = refusal(5, "EXECUTION_NOT_FOUND", "no execution 'y'", execution_id="y")
    code, out, err, requests = run(
        "exempt pr-abcd1234 x y", known, there, ("GetExecution", missing)
    )
    assert (code, out, len(requests)) == (1, "", 3)
    assert "no execution 'y'" in err


@pytest.mark.parametrize(
    ("scope", "pauses"),
    [({"task_name": "mail"}, "task=mail"), ({"execution_id": "y"}, "execution=y")],
)
def test_exempt_of_what_the_rule_never_matches_says_so(
    run: Run, scope: dict[str, Any], pauses: str
) -> None:
    known = rules.PauseRule(rule_id="pr-abcd1234", **scope)
    code, out, err, requests = run(
        "exempt pr-abcd1234 x",
        ("GetPauseRule", admin.GetPauseRuleResponse(rule=known)),
        ("GetExecution", STATE),
    )
    assert (code, out, len(requests)) == (1, "", 2)
    assert err == f"zart: pr-abcd1234 pauses {pauses}, nothing of x: nothing was done\n"


def test_exempt_undo_of_what_is_not_exempt_says_so(run: Run) -> None:
    rule = rules.PauseRule(rule_id="pr-abcd1234", exempt_execution_ids=["x"])
    known = "GetPauseRule", admin.GetPauseRuleResponse(rule=rule)
    answer = admin.UpdatePauseRuleResponse(rule=RULE, withheld_again_steps=1)
    code, out, _, requests = run("exempt --undo pr-abcd1234 x", known, ("UpdatePauseRule", answer))
    assert code == 0
    assert out == "pr-abcd1234 exempts x no longer\nwithheld again 1 ready step\n"
    assert list(requests[-1].remove_exempt_execution_ids) == ["x"]

    code, out, err, _ = run("exempt --undo pr-abcd1234 x z", known)
    assert (code, out) == (1, "")
    assert err == "zart: pr-abcd1234 does not exempt z: nothing was done\n"


def test_resume_at_a_pace_sends_it_and_says_how_many_steps_go(run: Run) -> None:
    canary = admin.ResumeResponse(rules=[RULE], released_steps=5)
    code, out, _, (request,) = run("resume --rule-id pr-abcd1234 --canary 5", ("Resume", canary))
    assert (code, request.canary) == (0, 5)
    assert "released  5 steps" in out
    assert "deleted" not in out
    for text in ("--rate x", "--rate 0", "--rate 40/m", "--canary 0", "--canary 5 --rate 5"):
        code, _, _, requests = run(f"resume --rule-id pr-abcd1234 {text}")
        assert (code, requests) == (2, [])


def test_resume_names_the_rules_that_it_passed_over(run: Run) -> None:
    answer = admin.ResumeResponse(still_releasing_rules=["pr-slow"])
    code, _, err, _ = run("resume --all", ("Resume", answer))
    assert (code, err) == (1, "zart: pr-slow is RELEASING: name it: nothing was done\n")
    answer = admin.ResumeResponse(rules_deleted=1, rules=[RULE], still_releasing_rules=["pr-slow"])
    code, out, _, _ = run("resume --all", ("Resume", answer))
    assert code == 0
    assert "releasing pr-slow" in out


def test_stop_release_says_what_the_rule_pauses(run: Run) -> None:
    answer = admin.StopReleaseResponse(rule=RULE)
    code, out, _, (request,) = run(
        "stop-release pr-abcd1234 --reason worse", ("StopRelease", answer)
    )
    assert (code, request.rule_id, request.reason) == (0, "pr-abcd1234", "worse")
    assert out.startswith("pr-abcd1234 is ")
