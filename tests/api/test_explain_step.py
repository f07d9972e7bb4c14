"""ExplainStep of whole runs, under many rules, of what is unknown; and the command that shows it."""

from __future__ import annotations

import json

import pytest
from explaining import asked, kinds, why
from rig import CHAIN, Rig
from terminal import zart_command

import zart
from zart import errors
from zart.testing.server import ServerUnderTest

# Ten thousand rules; what of a step's name each matches.
_RULES = """
    INSERT INTO zart.pause_rules (rule_id, step_pattern, step_regex, everything, reason, created_by,
        epoch)
    SELECT 'pr-' || n, format($1, n) || '*', '^(?:' || format($1, n) || '.*)$', false, $2, 'ops',
        (SELECT epoch + 1 FROM zart.pause_epoch) FROM generate_series(1, 10000) n
"""
_EPOCH = "UPDATE zart.pause_epoch SET epoch = epoch + 1"


async def test_without_a_name_each_step_that_is_unfinished(rig: Rig) -> None:
    names = [f"n{n:03}" for n in range(150)]
    chain = {name: before for name, *before in zip(names, ["first", *names], strict=False)}
    await rig.start("x", {"first": (), **chain, "last": (), "done": ()})
    tasks = {task.step_name: task for task in await rig.lease()}
    await rig.complete(tasks["done"])
    await rig.fail(tasks["last"])
    steps = await rig.client.explain_step("x")

    assert [step.step_name for step in steps] == ["first", *names[:98], "last"]
    assert [step.status for step in steps] == ["RUNNING", *["PENDING"] * 98, "DEAD"]
    assert steps.step("n097").causes[0].step_names == ("n096",)
    with pytest.raises(KeyError):
        steps.step("done")


async def test_who_is_unknown_is_told(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    with pytest.raises(errors.ExecutionNotFound):
        await rig.client.explain_step("y")
    with pytest.raises(errors.RunNotFound):
        await rig.client.explain_step("x", run_number=1)
    with pytest.raises(errors.StepNotFound):
        await rig.client.explain_step("x", "b")
    with pytest.raises(errors.InvalidField):
        await rig.client.explain_step("x", " ")


async def test_the_command(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.start("x", CHAIN)
    rule = await rig.client.pause(task_name="t", reason="the card service is down, for hours")
    await rig.start("done", {"a": ()}, task="u")
    await rig.work(task="u")
    monkeypatch.setenv("ZART_ADDRESS", zart_server.address)
    monkeypatch.setenv("NO_COLOR", "1")

    shown = zart_command(monkeypatch, ["why", "x"], columns=80)
    assert shown.code == 0
    assert max(map(len, shown.out.splitlines())) <= 80
    blocks = [block.splitlines() for block in shown.out.split("\n\n")]
    assert [block[0] for block in blocks] == ["a is PAUSED", "b is PENDING", "c is PENDING"]
    assert blocks[0][2].startswith(f"PAUSE_RULE     pause rule {rule.rule_id} (tester: ")
    assert blocks[0][-2:] == [
        "next: It goes on once its pause rule is resumed.",
        f"  zart resume --rule-id {rule.rule_id}",
    ]
    one = zart_command(monkeypatch, ["why", "x", "b", "--run", "0", "-o", "json"])
    assert [step["stepName"] for step in json.loads(one.out)["steps"]] == ["b"]
    done = zart_command(monkeypatch, ["why", "done"])
    assert (done.code, done.out) == (
        0,
        "nothing to explain: every step is COMPLETED or CANCELLED\n",
    )
    assert zart_command(monkeypatch, ["why", "nobody"]).code == 1
    assert zart_command(monkeypatch, ["why", "x", "d"]).code == 1
    assert zart_command(monkeypatch, ["why"]).code == 2


async def test_the_client_for_plain_code(rig: Rig, zart_server: ServerUnderTest) -> None:
    await rig.start("x", CHAIN)
    with zart.connect_sync(zart_server.address) as client:
        told = client.explain_step("x")

    assert told == await rig.client.explain_step("x")
    assert [step.step_name for step in told] == ["a", "b", "c"]


async def test_right_under_ten_thousand_rules(rig: Rig) -> None:
    await asked(rig)
    before = await rig.client.pause(execution_id="x")
    await rig.db.execute(_RULES, "a%s-", "")
    await rig.db.execute(_EPOCH)
    after = await rig.client.pause(step_pattern="a7*")
    await rig.start("x", {"a77-b": (), "c": ("a77-b",)})

    step = await why(rig, "a77-b")
    assert kinds(step) == ["PAUSE_RULE"] * 3
    assert [c.rule_id for c in step.causes] == [before.rule_id, "pr-77", after.rule_id]
    await rig.client.resume(rule_id="pr-77")
    step = await why(rig, "a77-b")
    assert [c.rule_id for c in step.causes] == [before.rule_id, after.rule_id]
    assert [c.rule_id for c in (await why(rig, "c")).causes] == ["", before.rule_id]


async def test_ten_thousand_rules_that_match_fit_an_answer(rig: Rig) -> None:
    await rig.db.execute(_RULES, "s", "r" * 1000)
    await rig.db.execute(_EPOCH)
    await rig.start("x", {f"s{n}": () for n in range(100)})

    step = await why(rig, "s7")
    rules = [cause.rule_id for cause in step.causes if cause.kind == "PAUSE_RULE"]
    assert rules == [f"pr-{n}" for n in range(1, 10_001)]
    steps = await rig.client.explain_step("x")
    assert len(steps) == 100
    for each in steps:
        assert each.next == (
            "It goes on once all 10000 pause rules that match it have let it go,"
            " 9900 of which are not listed here."
        )


async def test_names_of_very_many_steps_fit_an_answer(rig: Rig) -> None:
    names = {f"{n:05}{'n' * 250}": () for n in range(9_999)}
    await rig.start("x", {**names, "last": tuple(names)})
    (cause,) = (await why(rig, "last")).causes

    assert cause.step_names == tuple(names)[:2_000]
    assert cause.text.endswith(" and 9994 more")
