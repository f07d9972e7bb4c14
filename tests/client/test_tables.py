"""Tables fit a terminal of 80 columns: columns are left out before a word is broken."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import grpc
import pytest
from client.answering import answering
from client.breakers import AT, BREAKERS, PEOPLE
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from terminal import zart_command
from waiting import GIVE_UP

from zart.v1 import admin_service_pb2 as admin
from zart.v1 import audit_service_pb2 as audit
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution
from zart.v1 import explain_pb2 as explain
from zart.v1 import pause_rule_pb2 as rules
from zart.v1 import task_definition_pb2 as tasks

ID = "0123456789abcdef0123456789abcdef"
LATER = Timestamp(seconds=1_700_000_002)
ERROR = states.StepError(
    type="CardServiceUnavailable",
    message="the card service answered 503 for the third time within one single minute",
    details='Traceback\n  File "/srv/app/order_steps.py", line 31, in charge_card\n    raise',
)
STEPS = [
    states.Step(
        step_name=f"charge-the-card-of-user-{n}",
        status=states.STEP_STATUS_DEAD,
        depends_on=["lookup-the-user-first", "enrich-the-data-of-it"],
        attempt=3,
        max_attempts=2,
        last_error=ERROR,
        handler="charge",
        attempts=[
            states.Attempt(
                attempt=number,
                status=status,
                dispatcher_id="dispatcher-7f9c4d5b6-abcde",
                error=ERROR if status == states.ATTEMPT_STATUS_FAILED else None,
                started_at=AT,
                completed_at=LATER,
                principal="payments-team",
            )
            for number, status in enumerate(
                (
                    states.ATTEMPT_STATUS_RELEASED,
                    states.ATTEMPT_STATUS_FAILED,
                    states.ATTEMPT_STATUS_FAILED,
                ),
                1,
            )
        ],
    )
    for n in range(3)
]
EXECUTIONS = [
    states.Execution(
        execution_id=ID,
        task_name="monthly-order",
        status=states.RUN_STATUS_FAILED,
        created_at=AT,
        waiting_on="backoff until tomorrow",
        dead_steps=[states.DeadStep(step_name="charge-card", error=ERROR)],
    )
]
RUN = states.Run(
    run_id=f"{ID}:run:0",
    execution_id=ID,
    status=states.RUN_STATUS_FAILED,
    trigger=states.RUN_TRIGGER_SELECTIVE_RERUN,
    triggered_by=PEOPLE,
    principal="payments-team",
    reason="prices were changed after the order",
    error=f"charge-card: {ERROR.message}",
    created_at=AT,
    completed_at=AT,
)
RULE = rules.PauseRule(
    rule_id="pr-abcd1234",
    execution_id=ID,
    step_pattern="charge-*",
    task_name="monthly-order",
    reason="the card service is down, and will be for hours",
    created_by=PEOPLE,
    principal="payments-team",
    status=rules.PAUSE_RULE_STATUS_RESUMED,
    created_at=AT,
    expires_at=AT,
    deleted_by=PEOPLE,
    deleted_by_principal="payments-team",
)
OPERATION = audit.Operation(
    kind=audit.OPERATION_KIND_RETRY_STEP,
    run_number=0,
    step_name="charge-card",
    triggered_by=PEOPLE,
    principal="payments-team",
    reason="the card service is back",
    created_at=AT,
    replaced=audit.OperationReplaced(step_status=states.STEP_STATUS_DEAD, step_error=ERROR),
)
TASK = tasks.TaskDefinition(
    task_name="monthly-order",
    version=3,
    steps=[tasks.StepSpec(step_name=step.step_name) for step in STEPS],
    last_asked_at=AT,
)
EXPLAINED = [
    explain.ExplainedStep(
        step_name=step.step_name,
        status=states.STEP_STATUS_PAUSED,
        causes=[
            explain.Cause(
                kind=kind,
                text=f"pause rule pr-abcd1234 ({PEOPLE}: {RULE.reason}) withholds it",
                since=AT,
                until=LATER,
            )
            for kind in (explain.CAUSE_KIND_DEAD_DEPENDENCY, explain.CAUSE_KIND_BACKOFF)
        ],
        next="Retry the-step-before, which is dead, once what made it fail is mended.",
        next_command=["zart", "retry-step", "--", ID, f"{step.step_name} of $(whoever)"],
    )
    for step in STEPS
]
STATE = execution.GetExecutionResponse(execution=EXECUTIONS[0], run=RUN, steps=STEPS)
LEASED = rules.RuleAttempt(
    execution_id=ID, step_name="charge-the-card-of-user-7", attempt=3, started_at=AT,
    dispatcher_id="dispatcher-7f9c4d5b6-abcde", ended_at=LATER,
)  # fmt: skip
ANSWERS: dict[str, Message] = {
    "ListExecutions": execution.ListExecutionsResponse(executions=EXECUTIONS * 3),
    "GetExecution": STATE,
    "GetStep": execution.GetStepResponse(step=STEPS[0]),
    "ExplainStep": execution.ExplainStepResponse(steps=EXPLAINED),
    "ListRuns": admin.ListRunsResponse(runs=[RUN] * 3),
    "ListPauseRules": admin.ListPauseRulesResponse(rules=[RULE] * 2),
    "VerifyPauseRule": admin.VerifyPauseRuleResponse(
        window_started_at=AT, last_before=LEASED, violations=[LEASED] * 2
    ),
    "Resume": admin.ResumeResponse(rules_deleted=1, rules=[RULE]),
    **BREAKERS,
    "ListOperations": audit.ListOperationsResponse(operations=[OPERATION] * 3),
    "ListRuleHolds": audit.ListRuleHoldsResponse(),
    "ListTaskDefinitions": execution.ListTaskDefinitionsResponse(task_definitions=[TASK]),
}
LINES = [
    "list", f"status {ID}", f"why {ID}", f"runs {ID}", "verify pr-abcd1234", "tasks",
    f"history {ID}", "audit --all --since 30d", "breaker list", "breaker show br-abcd1234",
]  # fmt: skip
OF_RULES = ["rules --include-deleted", "resume --rule-id pr-abcd1234 --yes"]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a server answers so."""

    def answer(method: MethodDescriptor, _context: grpc.ServicerContext) -> Message:
        return ANSWERS[method.name]

    with answering(answer) as found:
        yield found


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


def words_of(text: str) -> set[str]:
    """What must not be broken: whatever stands between spaces."""
    return set(text.split())


@pytest.mark.parametrize("line", [*LINES, *OF_RULES])
def test_no_word_is_broken_and_no_line_is_too_long(
    address: str, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    arguments = ["--address", address, *line.split()]
    whole = zart_command(monkeypatch, arguments)
    narrow = zart_command(monkeypatch, arguments, columns=80)
    assert narrow.code == whole.code == int(line.startswith("verify"))  # of a violated rule
    lines = [one for one in narrow.out.splitlines() if "zart " not in one]  # to be pasted
    assert max(map(len, lines)) <= 80, narrow.out
    # Nothing but words of what a pipe gets, and what is said of columns for which is no room.
    told = re.sub(r"no room for [^|]*\| cat", "", narrow.out)
    assert words_of(told) <= words_of(whole.out + whole.err) | {"…"}, narrow.out
    assert re.search(r"2023-11-14 22:13:20Z|\b\d{4}d\b", whole.out)  # a time, or its age


def test_what_matters_most_is_what_stays(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = zart_command(monkeypatch, ["--address", address, "list"], columns=80).out
    assert listed.splitlines()[0].split()[:3] == ["EXECUTION", "RUN", "STATUS"]
    assert ID in listed
    assert "charge-card:" in listed
    assert "no room for TASK, CREATED" in listed
    wide = zart_command(monkeypatch, ["--address", address, "list"], columns=200).out
    assert "monthly-order" in wide
    assert "no room" not in wide


def test_attempts_are_counted_and_numbered(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = zart_command(monkeypatch, ["--address", address, "status", ID]).out
    assert "2/2 (#3)" in shown  # the first was given back: it does not count
    attempts = shown[shown.index("ATTEMPT ") :].splitlines()
    assert "#1" in attempts[1]
    assert "RELEASED" in attempts[1]
    assert "CardServiceUnavailable: the card service answered 503" in attempts[2]
    assert "(order_steps.py:31 in charge_card)" in attempts[2]


def test_one_step_is_shown_whole(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = zart_command(monkeypatch, ["--address", address, "status", ID, "charge-card"]).out
    assert '  File "/srv/app/order_steps.py", line 31, in charge_card' in shown
    assert ERROR.message in shown
    assert "lookup-the-user-first, enrich-the-data-of-it" in shown
    as_json = zart_command(
        monkeypatch, ["--address", address, "status", ID, "charge-card", "-o", "json"]
    ).out
    assert len(json.loads(as_json)["step"]["attempts"]) == 3


def test_the_next_command_is_quoted_for_a_shell(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = zart_command(monkeypatch, ["--address", address, "why", ID], columns=80).out
    pasted = [shlex.split(line) for line in shown.splitlines() if line.startswith("  zart ")]
    assert pasted == [["zart", "--address", address, *s.next_command[1:]] for s in EXPLAINED]
    as_json = zart_command(monkeypatch, ["--address", address, "why", ID, "-o", "json"]).out
    assert json.loads(as_json)["steps"][0]["nextCommand"] == list(EXPLAINED[0].next_command)


class Pages:
    """Answers ListExecutions with page after page, and counts them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked = 0

    def __call__(self, _method: MethodDescriptor, _context: grpc.ServicerContext) -> Message:
        self.asked += 1
        number = self.asked
        # What only a later page has, widens the table or adds a column then.
        task = "t" if number == 1 else f"a-longer-task-{number}"
        page = [
            states.Execution(execution_id=f"x-{number}-{n}", task_name=task, created_at=AT)
            for n in range(100)
        ]
        if number > 1:
            page[0].waiting_on = "a dispatcher"
        token = "more" if number < self.count else ""
        return execution.ListExecutionsResponse(executions=page, next_page_token=token)


def test_rows_are_printed_as_pages_come(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(Pages(3)) as address:
        listed = zart_command(monkeypatch, ["--address", address, "list", "--limit", "0"]).out
    rows = [line.split() for line in listed.splitlines()]
    assert [row[0] for row in rows if row[0] != "EXECUTION"] == [
        f"x-{number}-{n}" for number in (1, 2, 3) for n in range(100)
    ]
    titles = [n for n, row in enumerate(rows) if row[0] == "EXECUTION"]
    assert titles == [0, 101]  # again where a column has been added
    with answering(Pages(3)) as address:
        listed = zart_command(
            monkeypatch, ["--address", address, "list", "--limit", "0", "-o", "json"]
        ).out
    assert len(json.loads(listed)["executions"]) == 300


@pytest.mark.parametrize("output", ["table", "json"])
def test_who_reads_only_the_first_lines_is_served_at_once(output: str) -> None:
    pages = Pages(100_000)
    with answering(pages) as address:
        line = f"{sys.executable} -m zart.cli --address {address} -o {output} list --limit 0"
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {line} | head -3"],
            env={**os.environ, "PYTHONUNBUFFERED": ""},
            capture_output=True,
            text=True,
            check=False,
            timeout=GIVE_UP,
        )
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == ""
    assert done.returncode == 141
    assert pages.asked < 1000
