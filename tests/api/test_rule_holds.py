"""Which pause rules held an execution, from when to when: computed, no row is written for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from breaking import ONE, breaker
from releasing import paused, until_released
from rig import CHAIN, Rig, eventually

from zart import errors
from zart.cli.main import main
from zart.testing.server import ServerUnderTest
from zart_server.domain.model import (
    Attempt,
    AttemptStatus,
    PauseRule,
    PauseRuleStatus,
    PauseScope,
    Run,
    RunStatus,
    RunTrigger,
    Step,
    StepStatus,
)
from zart_server.domain.newest_holds import HeldRun, newest_holds
from zart_server.domain.rule_holds import OnRecord

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(minute: int | None) -> Any:
    return None if minute is None else START + timedelta(minutes=minute)


def step(name: str, status: StepStatus, *attempts: tuple[int, int | None], **more: Any) -> Step:
    """A step whose attempts began and ended at these minutes."""
    tried = tuple(
        Attempt(n, AttemptStatus.FAILED, "d", None, at(begun), at(ended))
        for n, (begun, ended) in enumerate(attempts, 1)
    )
    ended = tried[-1].completed_at if tried else None
    values = {"depends_on": (), "completed_at": ended, "attempts": tried} | more
    return Step(step_name=name, status=status, handler=name, attempt=0, max_attempts=3, **values)


def rule(rule_id: str, begun: int, ended: int | None, pattern: str | None = None) -> PauseRule:
    return PauseRule(
        rule_id=rule_id,
        scope=PauseScope(None, "t", pattern),
        reason="",
        status=PauseRuleStatus.ACTIVE,
        created_at=at(begun),
        created_by="ann",
        expires_at=None,
        deleted_at=at(ended),
        deleted_by="",
    )


def held(
    steps: list[Step], rules: list[PauseRule], record: OnRecord | None = None, **run: Any
) -> list[tuple[str, str, int, int | None]]:
    """Return rule, step, and minutes from when to when it was held."""
    values: dict[str, Any] = {"status": RunStatus.RUNNING, "completed_at": None} | run
    one = Run(
        execution_id="x", run_number=0, trigger=RunTrigger.INITIAL, triggered_by="", reason="",
        definition_version=1, source_run_number=None, error="", created_at=START, started_at=None,
        **values,
    )  # fmt: skip
    return sorted(
        (
            hold.rule.rule_id,
            hold.step_name,
            (hold.since - START) // timedelta(minutes=1),
            None if hold.until is None else (hold.until - START) // timedelta(minutes=1),
        )
        for hold in newest_holds(
            "x", "t", [HeldRun(one, steps, record or OnRecord())], rules, 1_000
        ).holds
    )


def test_it_is_held_while_it_waits_and_the_rule_stands() -> None:
    a = step("a", StepStatus.COMPLETED, (10, 12))
    b = step("b", StepStatus.PAUSED, depends_on=("a",))
    assert held([a, b], [rule("r", 5, None)]) == [("r", "a", 5, 10), ("r", "b", 12, None)]
    assert held([a, b], [rule("r", 5, 14)]) == [("r", "a", 5, 10), ("r", "b", 12, 14)]
    assert held([a, b], [rule("r", 10, 12)]) == []  # it was running
    assert held([a, b], [rule("r", 0, 20, "b*")]) == [("r", "b", 12, 20)]
    assert held([a, b], [rule("r", 0, None, "c")]) == []


def test_attempts_dead_steps_and_retries() -> None:
    failing = step("a", StepStatus.PAUSED, (1, 2), (5, 6))
    assert held([failing], [rule("r", 0, None)]) == [
        ("r", "a", 0, 1),
        ("r", "a", 2, 5),
        ("r", "a", 6, None),
    ]
    dead = step("a", StepStatus.DEAD, (1, 2))
    assert held([dead], [rule("r", 0, None)]) == [("r", "a", 0, 1)]
    retried = OnRecord(retried={"a": [at(20)]})
    revived = step("a", StepStatus.PAUSED, (1, 2))
    assert held([revived], [rule("r", 1, None)], retried) == [("r", "a", 20, None)]
    running = step("a", StepStatus.RUNNING, (1, None))
    assert held([running], [rule("r", 1, None)]) == []


def test_what_was_cancelled_was_held_until_then_and_what_is_kept_was_not() -> None:
    ended = {"status": RunStatus.CANCELLED, "completed_at": at(9)}
    assert held([step("a", StepStatus.CANCELLED)], [rule("r", 1, None)], **ended) == [
        ("r", "a", 1, 9)
    ]
    kept = step("a", StepStatus.COMPLETED, (1, 2), preserved_from_run_number=0)
    assert held([kept], [rule("r", 0, None)]) == []


def test_exemptions_and_what_is_let_go_end_it() -> None:
    waiting = step("a", StepStatus.SCHEDULED)
    exempted = OnRecord(exempted={"r": [(at(5), True), (at(8), False)]})
    assert held([waiting], [rule("r", 1, None)], exempted) == [
        ("r", "a", 1, 5),
        ("r", "a", 8, None),
    ]
    born = OnRecord(exempted={"r": [(at(8), False)]}, born_exempt=frozenset("r"))
    assert held([waiting], [rule("r", 1, None)], born) == [("r", "a", 8, None)]
    later = OnRecord(exempted={"r": [(at(5), True)]}, born_exempt=frozenset("r"))
    assert held([waiting], [rule("r", 1, None)], later) == [("r", "a", 1, 5)]
    let_go = OnRecord(let_go={("r", "a", 1): at(7)})
    assert held([waiting], [rule("r", 1, None), rule("s", 2, None)], let_go) == [
        ("r", "a", 1, 7),
        ("s", "a", 2, None),
    ]


def test_what_was_let_go_and_taken_back_before_it_was_leased_is_held_again() -> None:
    waiting, rules = step("a", StepStatus.PAUSED), [rule("r", 1, None)]
    let_go = {("r", "a", 1): at(7)}
    stopped = OnRecord(let_go=let_go, taken_back={"r": [at(3), at(9), at(12)], "s": [at(8)]})
    assert held([waiting], rules, stopped) == [("r", "a", 1, 7), ("r", "a", 9, None)]
    leased = step("a", StepStatus.COMPLETED, (8, 10))
    assert held([leased], rules, stopped) == [("r", "a", 1, 7)]
    again = OnRecord(let_go={("r", "a", 1): at(10)}, taken_back={"r": [at(9)]})
    assert held([waiting], rules, again) == [("r", "a", 1, 10)]


async def test_history_tells_which_rules_held_an_execution(
    rig: Rig,
    zart_server: ServerUnderTest,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call = rig.client
    first = await call.pause(task_name="t", triggered_by="ann", reason="card down")
    unrelated = await call.pause(task_name="u")
    await rig.start("x", CHAIN)
    [standing] = (await call.list_rule_holds("x")).holds
    assert (standing.rule_id, standing.step_name, standing.held_until) == (
        first.rule.rule_id,
        "a",
        None,
    )
    await call.resume(rule_id=first.rule_id)
    await rig.complete(await rig.lease_one("a"))
    second = await call.pause(execution_id="x", step_pattern="b", triggered_by="bob")
    await call.restart("x")

    found = await call.list_rule_holds("x")
    [rule] = await call.list_pause_rules(task_name="t", include_deleted=True)
    by_rule = {(hold.rule_id, hold.run_number, hold.step_name): hold for hold in found.holds}
    assert by_rule.keys() == {(rule.rule_id, 0, "a"), (second.rule_id, 0, "b")}
    assert unrelated.rule_id not in {hold.rule_id for hold in found.holds}
    ended = by_rule[rule.rule_id, 0, "a"]
    assert (ended.held_until, ended.created_by, ended.reason) == (
        rule.deleted_at,
        "ann",
        "card down",
    )
    fenced = by_rule[second.rule_id, 0, "b"]
    runs = await call.list_runs("x")
    assert (fenced.held_from, fenced.held_until) == (second.rule.created_at, runs[0].completed_at)
    assert not found.is_partial

    monkeypatch.setenv("ZART_ADDRESS", zart_server.address)
    assert main(["history", "x"]) == 0
    shown = capsys.readouterr().out
    assert "held by pause rules:" in shown
    assert rule.rule_id in shown.partition("held by")[2]


async def test_a_release_that_is_stopped_is_told_with_what_it_holds_again(rig: Rig) -> None:
    rule_id = await paused(rig)
    await rig.start("x", {"a": (), "b": ()})  # b keeps the release from ending by itself

    async def of_a() -> list[Any]:
        return [h for h in (await rig.client.list_rule_holds("x")).holds if h.step_name == "a"]

    await rig.client.resume(rule_id=rule_id, rate_per_second=0.01)
    await until_released(rig, 1)
    [hold] = await of_a()
    assert hold.held_until is not None
    await rig.client.stop_release(rule_id)

    stopped, *_ = await rig.client.list_operations(rule_id=rule_id, kind="STOP_RELEASE")
    now, before = await of_a()
    assert (now.held_from, now.held_until) == (stopped.created_at, None)
    assert before == hold


async def test_an_exemption_ends_it_and_nobody_unknown_is_held(rig: Rig) -> None:
    paused = await rig.client.pause(task_name="t")
    await rig.start("x", CHAIN)
    await rig.client.update_pause_rule(paused.rule_id, exempt=["x"])

    async def is_over() -> bool:
        [hold] = (await rig.client.list_rule_holds("x")).holds
        return hold.held_until is not None

    await eventually(is_over)
    with pytest.raises(errors.ExecutionNotFound):
        await rig.client.list_rule_holds("nobody")


async def test_a_breaker_that_opens_again_holds_nobody_whom_its_rule_exempted(rig: Rig) -> None:
    breaker_id = await breaker(rig.client)
    first = (await rig.client.trip_breaker(breaker_id)).breaker.rule_id
    await rig.client.update_pause_rule(first, exempt=["x"])
    await rig.client.reset_breaker(breaker_id)
    again = (await rig.client.trip_breaker(breaker_id)).breaker.rule_id
    await rig.start("x", ONE)
    assert await rig.statuses("x") == {"charge": "SCHEDULED"}

    assert (await rig.client.list_rule_holds("x")).holds == ()

    await rig.client.update_pause_rule(again, unexempt=["x"])
    [hold] = (await rig.client.list_rule_holds("x")).holds
    assert (hold.rule_id, hold.held_until) == (again, None)


async def test_a_rule_that_is_older_than_those_looked_at_is_not_left_out_unsaid(rig: Rig) -> None:
    await paused(rig)
    await rig.start("x", ONE)
    await rig.start("other", ONE, task="u")
    await rig.db.execute(
        "INSERT INTO zart.pause_rules (rule_id, execution_id, everything, reason, created_by, epoch,"
        " deleted_at, deleted_by) SELECT 'pr-' || n, 'y-' || n, false, '', '', 1, now(), ''"
        " FROM generate_series(1, 5001) n"
    )
    found = await rig.client.list_rule_holds("x")
    assert (found.holds, found.is_partial) == ((), True)
    # None that is older may have held this one.
    assert not (await rig.client.list_rule_holds("other")).is_partial


@pytest.mark.parametrize("let_go", [5000, 5001])
async def test_where_more_was_let_go_of_a_run_than_is_looked_at_there_may_be_others(
    rig: Rig, let_go: int
) -> None:
    await paused(rig)
    await rig.start("x", ONE)
    await rig.db.execute(
        "INSERT INTO zart.released_steps (rule_key, run_key, step_no, attempt, token_from)"
        " SELECT rule_key, run_key, 0, n, 0"
        " FROM zart.pause_rules, zart.runs, generate_series(2, $1::int + 1) n",
        let_go,
    )
    assert (await rig.client.list_rule_holds("x")).is_partial == (let_go > 5000)
