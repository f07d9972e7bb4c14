"""ExplainStep: each kind of cause is made and read, and the command that is told works."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from explaining import asked, kinds, why
from releasing import paused, until_released
from rig import CHAIN, LONG, Rig
from terminal import Printed, zart_command

import zart
from zart.models import ExplainedStep
from zart.testing.server import ServerUnderTest

Follow = Callable[[ExplainedStep], Printed]


@pytest.fixture
def follow(zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch) -> Follow:
    """Run the command that is told next, as it stands, by the real CLI."""
    monkeypatch.setenv("ZART_ADDRESS", zart_server.address)

    def run(step: ExplainedStep) -> Printed:
        program, *arguments = step.next_command
        assert program == "zart"
        printed = zart_command(monkeypatch, arguments)
        assert printed.code == 0, printed.err
        return printed

    return run


async def test_dependencies(rig: Rig, follow: Follow) -> None:
    await rig.start("x", CHAIN)
    step = await why(rig, "c")

    assert (step.status, kinds(step)) == ("PENDING", ["DEPENDENCIES"])
    assert step.causes[0].step_names == ("b",)
    assert "look at a" in step.next
    assert follow(step).out.startswith("a is SCHEDULED\n")


async def test_a_dead_dependency_however_far_back(rig: Rig, follow: Follow) -> None:
    await rig.dead("x", CHAIN, step="a")
    step = await why(rig, "c")

    assert kinds(step) == ["DEAD_DEPENDENCY", "RUN_ENDED", "DEPENDENCIES"]
    assert step.causes[0].step_names == ("a",)
    assert step.causes[1].text == "run 0 ended FAILED: a: no"
    assert step.causes[2].step_names == ("b",)
    follow(step)
    assert await rig.statuses() == {"a": "SCHEDULED", "b": "PENDING", "c": "PENDING"}


async def test_every_rule_that_matches(rig: Rig, follow: Follow) -> None:
    await asked(rig)
    made = [
        await rig.client.pause(task_name="t", reason="card service down"),
        await rig.client.pause(step_pattern="a*", expires_in=3600),
        await rig.client.pause(execution_id="x", task_name="t", step_pattern="a"),
    ]
    await rig.client.pause(task_name="u")
    await rig.client.pause(execution_id="y")
    await rig.start("x", CHAIN)
    step = await why(rig, "a")

    assert (step.status, kinds(step)) == ("PAUSED", ["PAUSE_RULE"] * 3)
    assert [cause.rule_id for cause in step.causes] == [rule.rule_id for rule in made]
    assert [cause.since for cause in step.causes] == [rule.rule.created_at for rule in made]
    assert [cause.until for cause in step.causes] == [rule.rule.expires_at for rule in made]
    assert "(tester: card service down)" in step.causes[0].text
    assert step.next.startswith("It goes on once all 3 pause rules")
    later = await why(rig, "b")
    assert kinds(later) == ["DEPENDENCIES", "PAUSE_RULE"]  # it will be withheld, too

    for left in (2, 1):
        follow(step)
        step = await why(rig, "a")
        assert kinds(step) == ["PAUSE_RULE"] * left
    follow(step)
    assert [task.step_name for task in await rig.lease(wait=LONG)] == ["a"]


async def test_a_rule_that_begins_to_let_steps_go_does_not_end_then(rig: Rig) -> None:
    await asked(rig)
    made = await rig.client.pause(task_name="t", expires_in=3600, release_on_expiry=2.5)
    assert made.rule.expires_at is not None
    await rig.start("x", {"a": ()})
    step = await why(rig, "a")

    [cause] = step.causes
    begins = f"begins at {made.rule.expires_at:%Y-%m-%dT%H:%M:%SZ} to let 2.5 steps a second go"
    assert (cause.kind, cause.until) == ("PAUSE_RULE", None)
    assert cause.text.endswith(f" withholds it; it {begins}")
    assert step.next == f"It goes on once its pause rule is resumed, or {begins}."
    await rig.client.update_pause_rule(made.rule_id, never_expires=True)
    step = await why(rig, "a")
    assert step.causes[0].text.endswith(" withholds it")
    assert step.next == "It goes on once its pause rule is resumed."


async def test_what_a_rule_will_withhold_once_it_is_retried(rig: Rig, follow: Follow) -> None:
    await rig.dead("x", {"a": ()}, step="a")
    await rig.client.pause(step_pattern="a")
    step = await why(rig, "a")

    assert kinds(step) == ["DEAD", "PAUSE_RULE"]
    assert "it is paused then, for a pause rule withholds it." in step.next
    follow(step)
    assert await rig.statuses() == {"a": "PAUSED"}


async def test_an_execution_that_is_exempt_is_not_held(rig: Rig) -> None:
    await asked(rig)
    rule = await rig.client.pause(task_name="t")
    for name in ("x", "y"):
        await rig.start(name, {"a": ()})
    await rig.client.update_pause_rule(rule.rule_id, exempt=["x"])

    assert kinds(await why(rig, "a", "x")) == ["QUEUED_BEHIND"]
    assert kinds(await why(rig, "a", "y")) == ["PAUSE_RULE"]
    await rig.client.update_pause_rule(rule.rule_id, unexempt=["x"])
    assert kinds(await why(rig, "a", "x")) == ["PAUSE_RULE"]


async def test_the_line_of_a_release(rig: Rig, follow: Follow) -> None:
    rule_id = await paused(rig)
    for n in range(5):
        await rig.start(f"x{n}", CHAIN)
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.02)
    await until_released(rig, 1)
    await asked(rig)
    before = await rig.db.fetchval("SELECT now()")
    step = await why(rig, "a", "x4")
    after = await rig.db.fetchval("SELECT now()")

    assert (step.status, kinds(step)) == ("PAUSED", ["RELEASE_QUEUE"])
    (cause,) = step.causes
    assert (cause.rule_id, cause.ahead) == (rule_id, 3)
    assert cause.until is not None
    assert before <= cause.until - timedelta(seconds=4 / 0.02) <= after
    later = (await why(rig, "b", "x4")).causes[1]
    assert (later.kind, later.ahead, later.until) == ("RELEASE_QUEUE", 4, None)
    assert rule_id in follow(step).out

    await rig.client.pause(execution_id="x4")
    assert kinds(await why(rig, "a", "x4")) == ["PAUSE_RULE", "RELEASE_QUEUE"]


async def test_what_a_rule_has_let_go_is_not_held_by_it(rig: Rig) -> None:
    await asked(rig)
    rule_id = await paused(rig)
    await rig.start("x", {"a": (), "b": ()})
    await rig.client.resume(rule_id=rule_id, canary=1)
    step = await why(rig, "a")

    assert (step.status, kinds(step)) == ("SCHEDULED", ["QUEUED_BEHIND"])
    assert kinds(await why(rig, "b")) == ["PAUSE_RULE"]


async def test_backoff(rig: Rig, follow: Follow) -> None:
    hours = zart.Retry(max_attempts=3, initial_backoff=3600.0, max_backoff=3600.0)
    await rig.start("x", {"a": ()}, retry=hours)
    await rig.fail(await rig.lease_one("a"), retryable=True)
    await asked(rig)
    step = await why(rig, "a")

    assert (step.status, kinds(step)) == ("SCHEDULED", ["BACKOFF"])
    assert step.causes[0].text == "backoff before attempt 2 of 3"
    assert step.causes[0].until == (await rig.client.get_step("x", "a")).not_before
    assert "Broken" in follow(step).out
    await rig.client.pause(execution_id="x")
    assert kinds(await why(rig, "a")) == ["PAUSE_RULE", "BACKOFF"]


async def test_no_dispatcher(rig: Rig, follow: Follow) -> None:
    await rig.client.register_task("t", [zart.StepSpec("a")])
    await rig.client.start("t", execution_id="x")
    step = await why(rig, "a")
    assert kinds(step) == ["NO_DISPATCHER", "QUEUED_BEHIND"]
    assert step.causes[0].text == "no dispatcher has ever asked for t"
    assert "never" in follow(step).out

    await asked(rig, timedelta(hours=1))
    (cause, _) = (await why(rig, "a")).causes
    assert cause.text == "no dispatcher asks for t any more"
    assert cause.since == await rig.db.fetchval("SELECT last_asked_at FROM zart.task_names")


async def test_a_dispatcher_that_has_just_come(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    await rig.client.lease_tasks("d", ["t"], handlers=["other"])

    assert kinds(await why(rig, "a")) == ["QUEUED_BEHIND"]


async def test_queued_behind(rig: Rig, follow: Follow) -> None:
    await asked(rig)
    for n in range(3):
        await rig.start(f"x{n}", {"a": (), "b": ()})
    step = await why(rig, "b", "x2")

    assert (step.status, kinds(step)) == ("SCHEDULED", ["QUEUED_BEHIND"])
    assert step.causes[0].ahead == 2
    assert step.causes[0].text == "2 due before it for handler b"
    assert "more dispatchers" in step.next
    first = await why(rig, "b", "x0")
    assert first.causes[0].ahead == 0
    assert first.causes[0].text.startswith("the first in line for handler b")
    await rig.work()
    assert "x2:run:0 is COMPLETED" in follow(step).out


async def test_running(rig: Rig, follow: Follow) -> None:
    await rig.start("x", {"a": ()})
    task = await rig.lease_one("a")
    await rig.client.pause(execution_id="x")  # which keeps nothing that is in flight
    step = await why(rig, "a")
    stored = await rig.client.get_step("x", "a")

    assert (step.status, kinds(step)) == ("RUNNING", ["RUNNING"])
    (cause,) = step.causes
    assert (cause.dispatcher_id, cause.since) == ("d", stored.started_at)
    assert cause.until == stored.lease_expires_at
    await rig.complete(task)
    assert "x:run:0 is COMPLETED" in follow(step).out


async def test_a_run_that_was_cancelled(rig: Rig, follow: Follow) -> None:
    await rig.start("x", CHAIN)
    await rig.client.cancel_execution("x", reason="ordered twice")
    step = await why(rig, "b")

    assert (step.status, kinds(step)) == ("CANCELLED", ["RUN_ENDED"])
    assert step.causes[0].text.startswith("run 0 ended CANCELLED")
    assert (await rig.client.explain_step("x")).steps == ()
    follow(step)
    assert (await rig.client.get_execution("x")).run.run_number == 1


async def test_a_run_that_is_not_the_current_one(rig: Rig, follow: Follow) -> None:
    await rig.dead("x", CHAIN, step="a")
    await rig.client.restart("x")
    await rig.client.pause(execution_id="x")
    step = await why(rig, "a", run_number=0)

    assert kinds(step) == ["RUN_ENDED", "DEAD"]  # no rule matters to it any more
    assert step.next == "Nothing more happens in run 0: look at run 1, the current one."
    assert follow(step).out.startswith("a is PAUSED\n")


async def test_a_dead_step(rig: Rig, follow: Follow) -> None:
    await rig.dead("x", CHAIN, step="b")
    step = await why(rig, "b")

    assert (step.status, kinds(step)) == ("DEAD", ["DEAD"])
    assert step.causes[0].text == "dead after attempt 1: Broken: no"
    assert step.causes[0].since == (await rig.client.get_step("x", "b")).completed_at
    assert step.next == "Retry it once what made it fail is mended. Or complete it by hand."
    follow(step)
    assert (await rig.statuses())["b"] == "SCHEDULED"


async def test_a_completed_step_has_no_cause(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    await rig.work()
    step = await why(rig, "a")

    assert (step.status, step.causes, step.next_command) == ("COMPLETED", (), ())
    assert step.next == "Nothing is to be done: it is completed."


async def test_ids_are_never_options_nor_shell(rig: Rig, follow: Follow) -> None:
    execution_id, step = "--all $(false) 'x'; \"", "-y"
    await rig.dead(execution_id, {step: ()}, step=step)
    told = await why(rig, step, execution_id)

    assert told.next_command == ("zart", "retry-step", "--", execution_id, step)
    follow(told)
    assert await rig.statuses(execution_id) == {step: "SCHEDULED"}
