"""The CLI asks before it ends work or deletes rules, where a terminal is; a real one, in a pty."""

from __future__ import annotations

import asyncio
import re
import shlex
from datetime import timedelta
from typing import Any

import pytest
from client.at_terminal import Terminal
from retaining import make_old
from rig import CHAIN, Rig

import zart
from zart.testing.server import ServerUnderTest, serving
from zart_server.engine.operations.counts import counted_now

IN_FLIGHT = 600  # seconds, for as long as a busy machine runs commands


@pytest.fixture
def terminal(zart_server: ServerUnderTest) -> Terminal:
    """A terminal whose commands reach the server."""
    return Terminal(zart_server.address)


@pytest.mark.parametrize(
    ("command", "ends_as"), [("restart", "SCHEDULED"), ("rerun", "SCHEDULED"),
                             ("cancel", "CANCELLED")]
)  # fmt: skip
async def test_ending_work_in_flight_is_asked(
    rig: Rig, terminal: Terminal, command: str, ends_as: str
) -> None:
    await rig.start("x", CHAIN)
    await rig.lease_one("a", lease_duration=IN_FLIGHT)
    code, seen = terminal.run(command, "x", answer="n")
    assert code != 0
    assert "in flight in x:run:0" in seen
    assert re.search(r"^a +RUNNING", seen, re.MULTILINE)
    assert await rig.run_status() == "RUNNING"
    code, seen = terminal.run(command, "x", answer="y")
    assert code == 0, seen
    assert await rig.run_status() == ends_as


@pytest.mark.parametrize("command", ["restart", "rerun", "cancel"])
async def test_nothing_in_flight_or_yes_given_is_not_asked(
    rig: Rig, terminal: Terminal, command: str
) -> None:
    await rig.start("idle", CHAIN)
    assert terminal.run(command, "idle")[0] == 0
    await rig.start("busy", CHAIN)
    await rig.lease_one("a", "busy", lease_duration=IN_FLIGHT)
    assert terminal.run(command, "busy", "--yes")[0] == 0


async def test_whoever_types_is_asked_though_the_output_goes_elsewhere(
    rig: Rig, terminal: Terminal
) -> None:
    await rig.start("x", CHAIN)
    await rig.lease_one("a", lease_duration=IN_FLIGHT)
    line = f"{shlex.join(terminal.words('restart', 'x'))} | cat"
    code, seen = terminal.paste(line, answer="n")
    assert code != 0
    assert "in flight in x:run:0" in seen
    assert await rig.run_status() == "RUNNING"
    code, seen = terminal.paste(line, answer="y")
    assert code == 0
    assert "x:run:1 is SCHEDULED" in seen
    await rig.lease_one("a", lease_duration=IN_FLIGHT)
    # Nobody would see the question.
    code, _ = terminal.paste(f"{shlex.join(terminal.words('restart', 'x'))} > /dev/null 2>&1")
    assert code == 2
    assert (await rig.client.get_execution("x")).execution.current_run_number == 1


async def test_resume_shows_what_it_would_delete_and_asks(rig: Rig, terminal: Terminal) -> None:
    await rig.client.pause(task_name="order", reason="card [service]")
    await rig.client.pause(task_name="other")
    code, seen = terminal.run("resume", "--task-name", "order", answer="n")
    assert code != 0
    assert "card [service]" in seen
    assert "other" not in seen
    assert len([r async for r in rig.client.list_pause_rules()]) == 2
    assert terminal.run("resume", "--task-name", "order", answer="y")[0] == 0
    assert [r.task_name async for r in rig.client.list_pause_rules()] == ["other"]
    code, seen = terminal.run("resume", answer="y")  # of everything: asked, not refused
    assert code == 0, seen
    assert [r async for r in rig.client.list_pause_rules()] == []


async def test_resume_counts_the_rules_that_it_was_not_told_of(
    rig: Rig, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        await rig.client.pause(task_name="order")
    monkeypatch.setattr("zart_server.api.pages.PAGE_BYTES", 250)  # room for two, three or four
    code, seen = terminal.run("resume", "--task-name", "order", answer="y")
    assert code == 0
    assert re.search(r"delete these rules and [123] rules? more, which lets 0 steps go\?", seen)
    assert "deleted   5 rules" in seen
    assert re.search(r"^and [123] rules? more\b", seen, re.MULTILINE)


async def test_who_is_not_asked_has_to_say_all(rig: Rig, terminal: Terminal) -> None:
    await rig.client.pause(task_name="order")
    code, seen = terminal.run("resume", "--yes")
    assert code == 2
    assert "resuming everything needs --all" in seen
    assert len([r async for r in rig.client.list_pause_rules()]) == 1
    code, seen = terminal.run("resume", "--dry-run", "--yes")
    assert (code, "would end 1 rule\n" in seen) == (0, True), seen
    assert terminal.run("resume", "--yes", "--request-id", "once")[0] == 0  # as a line to repeat
    assert [r async for r in rig.client.list_pause_rules()] == []
    await rig.client.pause(task_name="order")
    assert terminal.run("resume", "--yes", "--all")[0] == 0
    assert [r async for r in rig.client.list_pause_rules()] == []


async def test_resume_by_scope_asks_for_the_breakers_that_close_with_their_rules(
    rig: Rig, terminal: Terminal
) -> None:
    made = await rig.client.create_breaker(task_name="t", failure_threshold=1, window=60)
    breaker_id = made.breaker_id
    await rig.client.trip_breaker(breaker_id)
    await rig.start("x", {"a": (), "b": ()})
    code, seen = terminal.run("resume", "--task-name", "t", answer="n")
    assert code != 0
    assert f"delete this rule and close {breaker_id}, which lets 2 steps go?" in seen
    assert (await rig.client.get_breaker(breaker_id)).status == "OPEN"

    code, seen = terminal.run("resume", "--task-name", "t", answer="y")
    assert code == 0, seen
    assert re.search(f"^closed +{breaker_id}, ", seen, re.MULTILINE)
    assert (await rig.client.get_breaker(breaker_id)).status == "CLOSED"


async def test_resume_tells_of_no_breaker_that_another_rule_keeps_open(
    rig: Rig, terminal: Terminal
) -> None:
    made = await rig.client.create_breaker(
        task_name="t", failure_threshold=1, window=60, rate_per_second=0.01
    )
    first = (await rig.client.trip_breaker(made.breaker_id)).rule_id
    await rig.start("x", {"a": (), "b": (), "c": ()})
    await rig.client.reset_breaker(made.breaker_id)  # its rule goes on at the rate
    await rig.client.trip_breaker(made.breaker_id)
    code, seen = terminal.run("resume", "--rule-id", first, answer="y")
    assert code == 0, seen
    assert "delete this rule, which lets " in seen
    assert not re.search("^(would close|closed) ", seen, re.MULTILINE)
    assert (await rig.client.get_breaker(made.breaker_id)).status == "OPEN"


async def test_resume_ends_no_rule_that_it_did_not_show(rig: Rig, terminal: Terminal) -> None:
    shown = (await rig.client.pause(task_name="t", reason="shown")).rule_id

    def pause_too() -> None:
        with zart.connect_sync(terminal.address) as client:
            client.pause(task_name="t", reason="by a colleague")

    code, seen = Terminal(terminal.address, pause_too).run("resume", "--task-name", "t", answer="y")
    assert code == 1, seen
    assert shown in seen
    assert "PLAN_CHANGED" in seen
    assert len([r async for r in rig.client.list_pause_rules()]) == 2


async def test_resume_that_showed_no_rule_ends_none(
    rig: Rig, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pause() -> None:
        with zart.connect_sync(terminal.address) as client:
            client.pause(task_name="t", reason="by a colleague")

    async def counted_before_a_pause(*arguments: Any) -> Any:
        """End the reading of a plan, as a Pause that has waited for the lock goes on."""
        found = await counted_now(*arguments)
        await asyncio.to_thread(pause)
        return found

    planning = "zart_server.engine.operations.resume.counted_now"
    monkeypatch.setattr(planning, counted_before_a_pause)
    code, seen = terminal.run("resume", "--task-name", "t")
    assert (code, "PLAN_CHANGED" in seen) == (1, True), seen
    assert len([r async for r in rig.client.list_pause_rules()]) == 1


@pytest.mark.parametrize(
    "words",
    [("complete-step", "--result", "1"), ("skip-step",), ("fail-step", "--message", "no")],
)
async def test_a_step_is_fenced_only_of_the_run_that_was_shown(
    rig: Rig, terminal: Terminal, words: tuple[str, ...]
) -> None:
    await rig.start("x", CHAIN)
    await rig.lease_one("a", lease_duration=IN_FLIGHT)
    verb, *more = words

    def restart() -> None:
        with zart.connect_sync(terminal.address) as client:
            client.restart("x")
            (task,) = client.lease_tasks("d", ["t"], wait=10, lease_duration=IN_FLIGHT)
            assert (task.step_name, task.attempt) == ("a", 1)  # as the one that is shown

    racing = Terminal(terminal.address, restart)
    code, seen = racing.run(verb, "x", "a", "--fence", *more, answer="y")
    assert (code, "RUN_CHANGED" in seen) == (1, True), seen
    assert "a is in flight: attempt 1 of run 0, on d;" in seen
    assert (await rig.statuses())["a"] == "RUNNING"
    assert terminal.run(verb, "x", "a", "--fence", *more, answer="y")[0] == 0
    assert (await rig.statuses())["a"] != "RUNNING"


@pytest.mark.parametrize("words", [("set", "t", "30d"), ("unset", "t")])
async def test_what_would_be_removed_at_once_is_asked(
    rig: Rig, zart_database: str, words: tuple[str, ...]
) -> None:
    await rig.start("x", {"a": ()})
    await rig.work()
    await make_old(rig.db)
    await rig.client.set_retention("t", None)  # before that server would remove it
    with serving(zart_database, retention="35d") as server:
        terminal = Terminal(server.address)
        code, seen = terminal.run("retention", *words, answer="n")
        assert code == 130
        assert "1 execution of t ended before" in seen
        assert [t.keep_for async for t in rig.client.list_retention()] == [None]
        assert terminal.run("retention", *words, answer="y")[0] == 0
        assert terminal.run("retention", "set", "t", "60d")[0] == 0  # nothing is as old


async def test_retention_asks_where_it_could_not_count_all(
    rig: Rig, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.start("x", {"a": ()})
    await make_old(rig.db)
    await rig.work()  # it ends now, so nothing would go
    assert terminal.run("retention", "set", "t", "30d")[0] == 0
    monkeypatch.setattr("zart_server.engine.operations.purge_executions._COUNTED", 1)
    code, seen = terminal.run("retention", "set", "t", "20d", answer="n")
    assert (code, "0 or more executions of t ended before" in seen) == (130, True)
    assert [t.keep_for async for t in rig.client.list_retention()] == [timedelta(days=30)]


async def test_resume_by_scope_asks_for_none_that_is_releasing(
    rig: Rig, terminal: Terminal
) -> None:
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    await rig.start("x", {"a": (), "b": (), "c": ()})
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.01)
    code, seen = terminal.run("resume", "--task-name", "t")
    assert code == 1
    assert f"{rule_id} is RELEASING: name it" in seen
    code, seen = terminal.run("resume", "--rule-id", rule_id, answer="y")
    assert code == 0
    assert "delete this rule" in seen


async def test_pausing_everything_is_asked_with_what_it_withholds(
    rig: Rig, terminal: Terminal
) -> None:
    await rig.start("x", CHAIN)
    code, seen = terminal.run("pause", "--everything", answer="n")
    assert code != 0
    assert "concerns  1 unfinished execution, as x" in seen
    assert [r async for r in rig.client.list_pause_rules()] == []
    assert terminal.run("pause", "--everything", answer="y")[0] == 0
    assert len([r async for r in rig.client.list_pause_rules()]) == 1


async def test_a_second_equal_rule_is_asked_and_others_are_not(
    rig: Rig, terminal: Terminal
) -> None:
    await rig.start("x", CHAIN)
    assert terminal.run("pause", "--task-name", "t")[0] == 0
    assert terminal.run("pause", "--task-name", "t", "--step", "b")[0] == 0
    code, seen = terminal.run("pause", "--task-name", "t", answer="n")
    assert code != 0
    assert "has the same scope" in seen
    assert terminal.run("pause", "--task-name", "t", "--yes")[0] == 0
    assert len([r async for r in rig.client.list_pause_rules()]) == 3


async def test_a_misspelt_pause_ends_with_2(rig: Rig, terminal: Terminal) -> None:
    await rig.start("x", CHAIN)
    code, seen = terminal.run("pause", "--task-name", "tt")
    assert code == 2
    assert "no task 'tt'" in seen
