"""Whoever looks at pause rules sees what they let through: exempt executions, and releases."""

from __future__ import annotations

import grpc
import pytest
from client.answering import answering
from client.scripted import RULE, Run
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from terminal import zart_command

from zart.v1 import admin_service_pb2 as admin
from zart.v1 import pause_rule_pb2 as rules

RELEASE = rules.PauseRuleRelease(
    rate_per_second=0.05,
    released_steps=7,
    started_by="ann",
    started_at=Timestamp(seconds=86_400),
    waiting_for_dispatchers=True,
)


def rule_of(**fields: object) -> rules.PauseRule:
    """Make a rule that differs by these fields."""
    made = rules.PauseRule(**fields)  # type: ignore[arg-type]
    rule = rules.PauseRule()
    rule.CopyFrom(RULE)
    rule.MergeFrom(made)
    return rule


def listed(run: Run, *found: rules.PauseRule) -> list[list[str]]:
    """Return the cells that have a title, row by row."""
    answer = admin.ListPauseRulesResponse(rules=found)
    _, out, _, _ = run("rules", ("ListPauseRules", answer))
    titles, *rows = out.splitlines()
    starts = [titles.index(title) for title in ("EXEMPT", "LETS GO") if title in titles]
    return [[row[at:].split("  ")[0].strip() for at in starts] for row in rows]


def test_rules_say_what_they_let_through(run: Run) -> None:
    found = listed(
        run,
        rule_of(exempt_execution_ids=["order-7", "order-8"], release=RELEASE),
        rule_of(
            exempt_execution_ids=[f"order-{n}" for n in range(100)],
            release_on_expiry=rules.ReleaseOnExpiry(rate_per_second=40),
        ),
        RULE,
    )
    assert found == [
        ["2", "0.05/s, 7 gone, waits for dispatchers"],
        ["100+", "then 40/s"],
        ["", ""],
    ]


def test_rules_that_let_nothing_through_say_nothing_of_it(run: Run) -> None:
    assert listed(run, RULE) == [[]]


def test_a_terminal_has_room_for_what_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    one = rule_of(exempt_execution_ids=["order-7"], release=RELEASE)
    one.created_at.FromSeconds(1_700_000_000)

    def answer(_method: MethodDescriptor, _context: grpc.ServicerContext) -> Message:
        return admin.ListPauseRulesResponse(rules=[one])

    with answering(answer) as address:
        shown = zart_command(monkeypatch, ["--address", address, "rules"], columns=80).out
    assert max(map(len, shown.splitlines())) <= 80
    assert {"pr-abcd1234", "EXEMPT", "LETS", "0.05/s,", "dispatchers"} <= set(shown.split())


@pytest.mark.parametrize("command", ["rules", "pause-list"])
def test_one_rule_is_told_whole(run: Run, command: str) -> None:
    ids = [f"{'e' * 90}-{n}" for n in range(250)]
    whole = rule_of(exempt_execution_ids=ids, release=RELEASE, paused_steps=12)
    answer = admin.GetPauseRuleResponse(rule=whole)
    code, out, _, (asked,) = run(f"{command} pr-abcd1234", ("GetPauseRule", answer))
    assert (code, asked.rule_id) == (0, "pr-abcd1234")
    lines = out.splitlines()
    assert lines[0] == "pr-abcd1234 is ACTIVE"
    assert "matches    task=order step=charge-*" in lines
    assert "paused     12" in lines
    assert "lets go    0.05/s, 7 gone, waits for dispatchers" in lines
    assert "since      1970-01-02 00:00:00Z, by ann" in lines
    assert lines[-251:] == ["exempt     250 executions", *(f"  {one}" for one in ids)]


@pytest.mark.parametrize(
    ("status", "paused", "waiting", "told"),
    [
        (
            "RELEASING",
            3,
            False,
            "not known: not counted yet, or what is left backs off, or as much comes as goes",
        ),
        ("RELEASING", 3, True, ""),
        ("RELEASING", 0, False, ""),
        ("RESUMED", 3, False, ""),
    ],
)
def test_a_release_whose_end_is_not_known_says_why(
    run: Run,
    status: str,
    paused: int,
    waiting: bool,  # noqa: FBT001 - parametrized
    told: str,
) -> None:
    value = rules.PauseRuleStatus.Value(f"PAUSE_RULE_STATUS_{status}")
    whole = rule_of(release=RELEASE, paused_steps=paused, status=value)
    whole.release.waiting_for_dispatchers = waiting
    _, out, _, _ = run(
        "rules pr-abcd1234", ("GetPauseRule", admin.GetPauseRuleResponse(rule=whole))
    )
    assert [line for line in out.splitlines() if line.startswith("expected")] == (
        [f"expected   {told}"] if told else []
    )


def test_one_rule_has_one_scope(run: Run) -> None:
    code, _, err, requests = run("rules pr-abcd1234 --task-name order")
    assert (code, requests) == (2, [])
    assert "RULE_ID" in err
