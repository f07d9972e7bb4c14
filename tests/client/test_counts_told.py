"""How many there are is told once, in its number, and of a plan as what would be."""

from __future__ import annotations

from typing import Any

import pytest
from client.at_terminal import Terminal
from client.scripted import RULE, STATE, Run
from google.protobuf.timestamp_pb2 import Timestamp
from rig import CHAIN, Rig

from zart.testing.server import ServerUnderTest
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import batch_pb2, batch_service_pb2
from zart.v1 import pause_rule_pb2 as rules

STARTS = {"a": (), "b": ()}


async def test_resume_asks_with_each_step_counted_once_and_what_other_rules_keep(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    terminal = Terminal(zart_server.address)
    for _ in range(2):
        await rig.client.pause(task_name="t", must_match=False)
    await rig.start("x", STARTS)
    _, seen = terminal.run("resume", "--task-name", "t", answer="n")
    assert "delete these rules, which lets 2 steps go?" in seen
    other = (await rig.client.pause(step_pattern="b")).rule_id
    _, seen = terminal.run("resume", "--task-name", "t", answer="n")
    asked = "delete these rules, which lets 1 step go (1 stays paused by other rules)?"
    assert asked in seen
    code, seen = terminal.run("resume", "--task-name", "t", answer="y")
    assert (code, "released  1 step\n" in seen) == (0, True), seen
    assert "still     1 paused by other rules" in seen
    assert [rule.rule_id async for rule in rig.client.list_pause_rules()] == [other]


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (["--canary", "5"], "release 2 steps of this rule, the oldest?"),
        (["--canary", "1"], "release 1 step of this rule, the oldest?"),
        (
            ["--rate", "0.01/s"],
            "release 2 steps of this rule at 0.01/s (1 stays paused by other rules)?",
        ),
    ],
)
async def test_a_pace_is_asked_for_with_what_goes(
    rig: Rig, zart_server: ServerUnderTest, options: list[str], asked: str
) -> None:
    await rig.start("x", CHAIN)
    await rig.start("y", STARTS)
    mine = (await rig.client.pause(task_name="t")).rule_id
    await rig.client.pause(step_pattern="b")
    terminal = Terminal(zart_server.address)
    _, seen = terminal.run("resume", "--rule-id", mine, *options, answer="n")
    assert asked in seen


async def test_of_more_than_are_counted_both_numbers_are_told_as_the_least(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    for execution_id in ("x", "y"):
        await rig.start(execution_id, {f"n{n}": () for n in range(5001)})
    mine = (await rig.client.pause(task_name="t")).rule_id
    other = (await rig.client.pause(everything=True)).rule_id
    resume = ("resume", "--rule-id", mine)
    terminal = Terminal(zart_server.address)
    stays = "(10000 or more stay paused by other rules)"
    _, seen = terminal.run(*resume, answer="n")
    asked = f"delete this rule, which lets 0 or more of more than 10000 steps go {stays}?"
    assert asked in " ".join(seen.split())
    _, seen = terminal.run(*resume, "--rate", "5/s", answer="n")
    asked = f"release 0 or more of more than 10000 steps of this rule at 5/s {stays}?"
    assert asked in " ".join(seen.split())
    await rig.client.resume(rule_id=other)
    _, seen = terminal.run(*resume, answer="n")
    stay = "(others may stay paused by other rules)"
    assert f"which lets 10000 or more steps go {stay}?" in " ".join(seen.split())


KNOWN = ("GetPauseRule", admin.GetPauseRuleResponse(rule=RULE))
EXEMPTING = rules.PauseRule(rule_id="pr-abcd1234", exempt_execution_ids=["x"])
RESUMED = rules.PauseRule(rule_id="pr-abcd1234", deleted_at=Timestamp(seconds=1))


def _resumed(**fields: Any) -> tuple[str, Any]:
    answer = admin.ResumeResponse(rules_deleted=1, rules=[RESUMED], released_steps=1, **fields)
    return "Resume", answer


def _updated(**fields: Any) -> tuple[str, Any]:
    return "UpdatePauseRule", admin.UpdatePauseRuleResponse(rule=RULE, **fields)


PLANNED: dict[str, Any] = {"planned": True, "plan_token": "AQtok"}
CASES: list[tuple[str, list[Any], list[str], list[str]]] = [
    ("resume --all", [_resumed()], ["deleted   1 rule", "released  1 step"], ["would"]),
    (
        "resume --all --dry-run",
        [_resumed(**PLANNED)],
        ["would end 1 rule", "would let 1 step go"],
        ["released"],
    ),
    (
        "resume --all",
        [_resumed(released_steps_is_lower_bound=True, still_paused_steps=10_000)],
        ["released  1 or more steps", "still     10000 or more paused by other rules"],
        [],
    ),
    (
        "exempt pr-abcd1234 x",
        [KNOWN, ("GetExecution", STATE), _updated(released_steps=1)],
        ["pr-abcd1234 exempts x", "released 1 step"],
        ["would"],
    ),
    (
        "exempt pr-abcd1234 x --dry-run",
        [KNOWN, ("GetExecution", STATE), _updated(released_steps=1, **PLANNED)],
        ["pr-abcd1234 would exempt x", "would release 1 step"],
        ["released"],
    ),
    (
        "exempt pr-abcd1234 x --undo --dry-run",
        [
            ("GetPauseRule", admin.GetPauseRuleResponse(rule=EXEMPTING)),
            _updated(withheld_again_steps=2, **PLANNED),
        ],
        ["pr-abcd1234 would exempt x no longer", "would withhold 2 ready steps again"],
        ["withheld"],
    ),
    (
        "pause --task-name t --dry-run",
        [("Pause", admin.PauseResponse(rule=RULE, executions=1, **PLANNED))],
        ["concerns  1 unfinished execution"],
        [],
    ),
    (
        "batch restart --everything --dry-run",
        [
            (
                "CreateBatch",
                batch_service_pb2.CreateBatchResponse(
                    plan=batch_pb2.BatchPlan(items=1, executions=1), **PLANNED
                ),
            )
        ],
        ["would be of 1 item in 1 execution"],
        [],
    ),
]


@pytest.mark.parametrize(("line", "answers", "lines", "untold"), CASES)
def test_one_is_told_as_one_and_a_plan_as_a_plan(
    run: Run, line: str, answers: list[Any], lines: list[str], untold: list[str]
) -> None:
    code, out, _, _ = run(line, *answers)
    assert code == 0, out
    assert set(lines) <= set(out.splitlines())
    assert [word for word in untold if word in out] == []
