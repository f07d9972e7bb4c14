"""Set when a pause rule ends: what is asked, what is told, and what is refused."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from client.scripted import RULE, Run, refusal
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2, error_details_pb2
from rig import CHAIN, Rig

from zart.cli.main import main
from zart.testing.server import ServerUnderTest
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import pause_rule_pb2 as rules

SOON = datetime(2030, 1, 31, 14, tzinfo=UTC)
LATER = datetime(2030, 1, 31, 16, tzinfo=UTC)


def rule_that_ends(at: datetime | None, **fields: Any) -> rules.PauseRule:
    """Make the rule of the scripts with this end."""
    rule = rules.PauseRule(**fields)
    rule.MergeFrom(RULE)
    if at is not None:
        rule.expires_at.FromDatetime(at)
    return rule


def known(at: datetime | None) -> tuple[str, Any]:
    """Answer the rule as it is before."""
    return "GetPauseRule", admin.GetPauseRuleResponse(rule=rule_that_ends(at))


def updated(at: datetime | None, *, replayed: bool = False, **fields: Any) -> tuple[str, Any]:
    """Answer the rule as it is then."""
    rule = rule_that_ends(at, **fields)
    return "UpdatePauseRule", admin.UpdatePauseRuleResponse(rule=rule, replayed=replayed)


@pytest.mark.parametrize(
    ("option", "field", "value"),
    [
        ("--for 1h30m", "expires_in", Duration(seconds=5_400)),
        ("--until 2030-01-31T17:00+01:00", "expires_at", Timestamp(seconds=int(LATER.timestamp()))),
        ("--forever", "never_expires", True),
    ],
)
def test_each_end_is_sent_as_the_field_that_says_it(
    run: Run, option: str, field: str, value: Any
) -> None:
    line = f"pause-update pr-abcd1234 {option} --reason 'still down' --incident INC-7"
    code, _, _, (asked, request) = run(line, known(SOON), updated(LATER))
    assert (code, asked) == (0, admin.GetPauseRuleRequest(rule_id="pr-abcd1234"))
    assert (request.WhichOneof("expiry"), getattr(request, field)) == (field, value)
    assert (request.rule_id, request.reason, request.incident) == (
        "pr-abcd1234", "still down", "INC-7",
    )  # fmt: skip
    assert not request.add_exempt_execution_ids
    assert not request.remove_exempt_execution_ids


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (SOON, LATER, "until     2030-01-31 16:00:00Z (before: until 2030-01-31 14:00:00Z)"),
        (None, LATER, "until     2030-01-31 16:00:00Z (before: until it is resumed)"),
        (SOON, None, "until     it is resumed (before: until 2030-01-31 14:00:00Z)"),
        (None, None, "until     it is resumed (as before)"),
    ],
)
def test_it_tells_from_when_to_when(
    run: Run, before: datetime | None, after: datetime | None, told: str
) -> None:
    _, out, err, _ = run("pause-update pr-abcd1234 --forever", known(before), updated(after))
    assert (out.splitlines(), err) == (
        ["pr-abcd1234 pauses task=order step=charge-*", told], "",
    )  # fmt: skip


def test_it_tells_how_the_rule_ends_and_whose_it_is(run: Run) -> None:
    slowly = rules.ReleaseOnExpiry(rate_per_second=40)
    of_breaker: dict[str, Any] = {"release_on_expiry": slowly, "breaker_id": "br-7k2m9x4q"}
    _, out, _, _ = run("pause-update pr-1 --for 2h", known(None), updated(LATER, **of_breaker))
    assert out.splitlines()[2:] == [
        "then      releases 40 steps a second",
        "breaker   br-7k2m9x4q closes then, and may end it before",
    ]
    _, out, _, _ = run("pause-update pr-1 --forever", known(None), updated(None, **of_breaker))
    assert out.splitlines()[2:] == ["breaker   br-7k2m9x4q closes then, and may end it before"]


def test_of_a_repeat_nobody_knows_what_was_set_before(run: Run) -> None:
    line = "pause-update pr-1 --for 2h --request-id r"
    code, out, err, _ = run(line, known(LATER), updated(LATER, replayed=True))
    assert (code, out.splitlines()[1]) == (0, "until     2030-01-31 16:00:00Z")
    assert "it was done before" in err
    gone = refusal(code_pb2.NOT_FOUND, "PAUSE_RULE_NOT_FOUND", "no pause rule 'pr-1'")
    code, out, _, _ = run(line, ("GetPauseRule", gone), updated(LATER, replayed=True))
    assert (code, out.splitlines()[1]) == (0, "until     2030-01-31 16:00:00Z")


def test_scripts_read_the_answer_as_it_came(run: Run) -> None:
    code, out, err, (request,) = run("pause-update pr-1 --forever -o json", updated(None))
    assert (code, err, request.never_expires) == (0, "", True)
    assert json.loads(out)["rule"]["ruleId"] == "pr-abcd1234"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("", "give one of --for, --until and --forever"),
        ("--reason why", "give one of --for, --until and --forever"),
        ("--for 2h --forever", "give one of --for, --until and --forever"),
        ("--for 2h --until 2030-01-31", "give one of --for, --until and --forever"),
        ("--for soon", "--for: 'soon' is no span such as 90s"),
        ("--until soon", "--until: 'soon' is no time such as 2026-01-31"),
        ("--until 2h", "--until: '2h' is no time; --for 2h is so long from now on"),
    ],
)
def test_wrong_usage_sends_nothing(run: Run, options: str, told: str) -> None:
    code, out, err, requests = run(f"pause-update pr-1 {options}")
    assert (code, out, requests) == (2, "", [])
    assert told in err


@pytest.mark.parametrize(
    ("option", "field", "told"),
    [
        ("--until 2020-01-31", "expires_at", "--until: lies in the past"),
        ("--for 0s", "expires_in", "--for: lies in the past"),
        ("--forever", "never_expires", "--forever: lies in the past"),
        ("--forever", "rule_id", "RULE_ID: lies in the past"),
    ],
)
def test_what_is_refused_of_a_field_is_told_of_its_option(
    run: Run, option: str, field: str, told: str
) -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(
        field=field, description="lies in the past"
    )
    status = refusal(code_pb2.INVALID_ARGUMENT, "INVALID_FIELD", f"{field}: lies in the past")
    status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    code, out, err, _ = run(f"pause-update pr-1 {option}", known(SOON), ("UpdatePauseRule", status))
    assert (code, out, err) == (1, "", f"zart: {told} [INVALID_FIELD]\n")


Zart = Callable[..., Any]


@pytest.fixture
def zart(zart_server: ServerUnderTest, capsys: pytest.CaptureFixture[str]) -> Zart:
    """Run a command against the server; gives its exit code, output and errors."""

    async def runs(line: str) -> tuple[int, str, str]:
        words = ["--address", zart_server.address, *shlex.split(line)]
        code = await asyncio.to_thread(main, words)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return runs


async def test_the_new_end_is_in_the_rules_and_on_record(rig: Rig, zart: Zart) -> None:
    rule = (await rig.client.pause(task_name="t", must_match=False, expires_in=600)).rule
    code, out, _ = await zart(f"pause-update {rule.rule_id} --for 3h --reason 'still down'")
    assert code == 0
    until = re.findall(r"^until +(\S+ \S+Z) \(before: until (\S+ \S+Z)\)$", out, re.MULTILINE)
    now = await rig.client.get_pause_rule(rule.rule_id)
    assert rule.expires_at is not None
    assert now.expires_at is not None
    assert until == [tuple(f"{at:%Y-%m-%d %H:%M:%SZ}" for at in (now.expires_at, rule.expires_at))]
    assert now.expires_at > rule.expires_at
    _, listed, _ = await zart("rules")
    titles, row = listed.splitlines()
    assert row[titles.index("ENDS") :].split("  ")[0].strip() == "in 2h"
    _, whole, _ = await zart(f"rules {rule.rule_id}")
    assert f"ends       {until[0][0]}" in whole.splitlines()
    _, audit, _ = await zart("audit --kind update-pause-rule")
    assert f"until {until[0][0]}" in audit
    assert "still down" in audit

    code, out, _ = await zart(f"pause-update {rule.rule_id} --forever")
    assert (code, f"until     it is resumed (before: until {until[0][0]})" in out) == (0, True)
    assert "ENDS" not in (await zart("rules"))[1]
    code, _, err = await zart(f"pause-update {rule.rule_id} --until 2020-01-31")
    assert (code, err) == (1, "zart: --until: lies in the past [INVALID_FIELD]\n")


async def test_a_plan_changes_nothing_and_its_line_does(rig: Rig, zart: Zart) -> None:
    rule_id = (await rig.client.pause(task_name="t", must_match=False)).rule_id
    code, out, _ = await zart(f"pause-update {rule_id} --until 2030-01-31T16:00Z --dry-run")
    head, until, nothing, line = out.splitlines()
    assert (code, head) == (0, f"{rule_id} would pause task=t")
    assert until == "until     2030-01-31 16:00:00Z (before: until it is resumed)"
    assert nothing == "nothing was done; this does it, or nothing:"
    assert (await rig.client.get_pause_rule(rule_id)).expires_at is None
    assert (await zart(line.removeprefix("zart ")))[0] == 0
    assert (await rig.client.get_pause_rule(rule_id)).expires_at == LATER
    await rig.client.update_pause_rule(rule_id, exempt=["x"])
    code, _, err = await zart(line.removeprefix("zart "))
    assert (code, "PLAN_CHANGED" in err) == (1, True)


async def test_what_is_ended_or_releases_has_no_end_to_set(rig: Rig, zart: Zart) -> None:
    rule_id = (await rig.client.pause(task_name="t", must_match=False)).rule_id
    await rig.start("x", {"a": (), "b": ()})
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.01)
    code, out, err = await zart(f"pause-update {rule_id} --for 2h")
    assert (code, out) == (1, "")
    refused, told, line = err.splitlines()
    assert refused.endswith("is RELEASING: stop the release before [RULE_RELEASING]")
    assert told == "this has it withhold all again:"
    assert line.endswith(f" stop-release {rule_id}")
    assert (await zart(line.removeprefix("zart ")))[0] == 0
    assert (await zart(f"pause-update {rule_id} --for 2h"))[0] == 0

    await rig.client.resume(rule_id=rule_id)
    code, out, err = await zart(f"pause-update {rule_id} --for 2h")
    assert (code, out) == (1, "")
    refused, told, line = err.splitlines()
    assert refused == f"zart: pause rule '{rule_id}' is RESUMED, not ACTIVE [RULE_NOT_ACTIVE]"
    assert told == "this tells who ended it, and when:"
    assert line.endswith(f" rules {rule_id}")
    code, _, err = await zart("pause-update pr-nobody12 --for 2h")
    assert (code, "[PAUSE_RULE_NOT_FOUND]" in err) == (1, True)


async def test_a_breakers_rule_can_have_an_end(rig: Rig, zart: Zart) -> None:
    await rig.start("x", CHAIN)
    made = await rig.client.create_breaker(task_name="t", failure_threshold=1, window=60)
    rule_id = (await rig.client.trip_breaker(made.breaker_id)).rule_id
    code, out, _ = await zart(f"pause-update {rule_id} --for 2h")
    assert (code, out.splitlines()[-1]) == (
        0, f"breaker   {made.breaker_id} closes then, and may end it before",
    )  # fmt: skip
    assert (await rig.client.get_breaker(made.breaker_id)).status == "OPEN"
