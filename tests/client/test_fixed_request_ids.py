"""A request id that somebody gives makes a repeat safe, also at a terminal, which asks first."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from batching import dead_steps
from client.at_terminal import Terminal
from doubts import in_doubt
from retaining import make_old
from rig import CHAIN, Rig
from waiting import eventually

import zart
from zart.testing.server import ServerUnderTest

ID = ("--request-id", "r")
BEFORE = "it was done before, by this request id"


@pytest.fixture
def terminal(zart_server: ServerUnderTest) -> Terminal:
    """A terminal whose commands reach the server."""
    return Terminal(zart_server.address)


async def done(rig: Rig) -> list[str]:
    """Return the kinds of what was done by the id."""
    return [o.kind async for o in rig.client.list_operations() if o.request_id == "r"]


def repeated(terminal: Terminal, *words: str, answer: str = "") -> str:
    """Run a command twice; return what was seen of the repeat."""
    code, seen = terminal.run(*words, *ID, answer=answer)
    assert (code, BEFORE in seen) == (0, False), seen
    code, seen = terminal.run(*words, *ID, answer=answer)
    assert (code, BEFORE in seen) == (0, True), seen
    return seen


async def test_resolve(rig: Rig, terminal: Terminal) -> None:
    await in_doubt(rig)
    seen = repeated(terminal, "resolve", "x", "a", "happened")
    assert "attempt 1 of x:run:0/a is resolved: happened" in seen
    code, seen = terminal.run("resolve", "x", "a", "happened", "--request-id", "another")
    assert (code, "its doubt is resolved by" in seen) == (1, True), seen
    code, seen = terminal.run("resolve", "x", "a", "did-not-happen", *ID)
    assert (code, "REQUEST_ID_REUSED" in seen) == (1, True), seen


async def test_resolve_takes_no_attempt_that_came_later_for_its_own(
    rig: Rig, terminal: Terminal
) -> None:
    await in_doubt(rig)
    line = ("resolve", "x", "a", "did-not-happen")
    assert terminal.run(*line, *ID)[0] == 0
    await _lost_again(rig)
    code, seen = terminal.run(*line, *ID)
    assert (code, BEFORE in seen) == (0, True), seen
    assert "attempt 1 of x:run:0/a is resolved" in seen
    assert len([item async for item in rig.client.list_in_doubt()]) == 1

    assert terminal.run(*line, "--request-id", "second")[0] == 0
    code, seen = terminal.run(*line, *ID)
    assert (code, "--run 0 --attempt 1, --run 0 --attempt 2" in seen) == (2, True), seen
    code, seen = terminal.run(*line, *ID, "--attempt", "1")
    assert (code, BEFORE in seen) == (0, True), seen


async def _lost_again(rig: Rig) -> None:
    await rig.client.retry_step("x", "a")
    leased = await rig.lease_one("a")
    await rig.report(zart.Outcome(leased.task_id, leased.lease_token, zart.Lost()))


async def test_batch_of_which_nothing_is_left(rig: Rig, terminal: Terminal) -> None:
    await dead_steps(rig.client, 3)
    seen = repeated(terminal, "batch", "retry-step", "--task-name", "t", "--step", "a", answer="y")
    assert "do it?" not in seen
    assert re.search("^items +3", seen, re.MULTILINE)
    assert len(await rig.client.list_batches()) == 1


async def test_batch_of_which_something_is_left(rig: Rig, terminal: Terminal) -> None:
    await dead_steps(rig.client, 3)
    line = ("batch", "retry-step", "--task-name", "t", "--step", "a", "--canary", "1")
    assert "unless" not in repeated(terminal, *line, answer="y")
    assert len(await rig.client.list_batches()) == 1


async def test_what_is_nothing_is_refused_unless_it_was_done_before(
    rig: Rig, terminal: Terminal
) -> None:
    line = ("batch", "retry-step", "--everything")
    await rig.client.pause(task_name="u", request_id="r", must_match=False)  # by another call
    code, seen = terminal.run(*line, *ID)  # which asks nothing
    assert (code, "NOTHING_SELECTED" in seen) == (1, True), seen
    assert terminal.run(*line)[0] == 1
    assert await rig.client.list_batches() == []


Meanwhile = Callable[[], Awaitable[object]]


async def run_while(
    terminal: Terminal, meanwhile: Meanwhile, *words: str, answer: str = "y"
) -> tuple[int, str]:
    """Run a command under the id, and do something while it asks."""
    loop = asyncio.get_running_loop()

    async def do() -> None:
        await meanwhile()

    asked = replace(
        terminal, meanwhile=lambda: asyncio.run_coroutine_threadsafe(do(), loop).result()
    )
    return await asyncio.to_thread(asked.run, *words, *ID, answer=answer)


async def test_a_batch_takes_no_more_than_was_shown(rig: Rig, terminal: Terminal) -> None:
    await dead_steps(rig.client, 3)
    line = ("batch", "retry-step", "--task-name", "t", "--step", "a")
    code, seen = await run_while(terminal, lambda: dead_steps(rig.client, 2, "y"), *line)
    assert (code, BEFORE in seen) == (0, False), seen
    assert re.search("^items +3", seen, re.MULTILINE)
    code, seen = terminal.run(*line, *ID, answer="y")  # a plan of the two others
    assert (code, BEFORE in seen) == (0, True), seen
    assert len(await rig.client.list_batches()) == 1


OLDER = """
    SELECT max(completed_at) < clock_timestamp() - interval '1.5 seconds' FROM zart.runs
"""


async def test_a_purge_takes_no_more_than_was_shown(rig: Rig, terminal: Terminal) -> None:
    await rig.start("x", {"a": ()})
    await rig.work()
    await make_old(rig.db)

    async def another_is_over() -> None:
        await rig.start("y", {"a": ()})
        await rig.work()
        await eventually(lambda: rig.db.fetchval(OLDER))

    line = ("purge", "--older-than", "1s")
    code, seen = await run_while(terminal, another_is_over, *line)
    assert (code, "1 removed" in seen) == (0, True), seen
    assert (await rig.client.get_execution("y")).execution.status == "COMPLETED"


async def test_a_resume_takes_no_more_than_was_shown(rig: Rig, terminal: Terminal) -> None:
    await rig.client.pause(task_name="t", must_match=False)

    async def another() -> None:
        await rig.client.pause(task_name="t", must_match=False)

    line = ("resume", "--task-name", "t")
    code, seen = await run_while(terminal, another, *line)
    assert (code, "PLAN_CHANGED" in seen) == (1, True), seen
    assert "deleted   2 rules" in terminal.run(*line, *ID, answer="y")[1]
    await another()
    code, seen = terminal.run(*line, *ID, answer="y")
    assert (code, BEFORE in seen) == (0, True), seen
    assert len([rule async for rule in rig.client.list_pause_rules()]) == 1


async def test_purge(rig: Rig, terminal: Terminal) -> None:
    await rig.start("x", {"a": ()})
    await rig.work()
    await make_old(rig.db)
    assert "1 removed" in repeated(terminal, "purge", "--older-than", "30d", answer="y")


async def test_pause_asks_of_no_rule_that_it_made(rig: Rig, terminal: Terminal) -> None:
    await rig.start("x", CHAIN)
    repeated(terminal, "pause", "--task-name", "t")
    assert await done(rig) == ["PAUSE"]


async def test_pause_asks_of_a_rule_that_somebody_else_made(rig: Rig, terminal: Terminal) -> None:
    await rig.start("x", CHAIN)
    await rig.client.pause(task_name="t", request_id="another")
    line = ("pause", "--task-name", "t")
    code, seen = terminal.run(*line, *ID, answer="n")
    assert (code, "add a second rule?" in seen) == (130, True), seen
    assert terminal.run(*line, *ID, answer="y")[0] == 0
    code, seen = terminal.run(*line, *ID)  # asked no more: both rules stand
    assert (code, BEFORE in seen) == (0, True), seen
    assert len([rule async for rule in rig.client.list_pause_rules()]) == 2


async def test_pause_of_what_is_no_longer_there(rig: Rig, terminal: Terminal) -> None:
    await rig.start("x", {"a": ()})
    line = ("pause", "--execution-id", "x")
    assert terminal.run(*line, *ID)[0] == 0
    await rig.client.cancel_execution("x")
    assert "SCOPE_MATCHES_NOTHING" in terminal.run(*line)[1]
    code, seen = terminal.run(*line, *ID)
    assert (code, BEFORE in seen) == (0, True), seen


async def test_pause_of_everything_is_asked_each_time(rig: Rig, terminal: Terminal) -> None:
    assert "pause everything?" in repeated(terminal, "pause", "--everything", answer="y")
    assert await done(rig) == ["PAUSE"]


async def test_resume_of_a_canary_that_let_all_go(rig: Rig, terminal: Terminal) -> None:
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    await rig.start("x", CHAIN)
    line = ("resume", "--rule-id", rule_id, "--canary", "1")
    assert "released  1 step" in repeated(terminal, *line, answer="y")
