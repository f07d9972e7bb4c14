"""The line that ``zart`` prints where the outcome is unknown tells, and does nothing a second time."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import grpc
import pytest
from between import Between, Refusal
from client.at_terminal import Terminal
from doubts import in_doubt
from retaining import make_old
from rig import CHAIN, Rig

from zart.testing.server import ServerUnderTest

LOST = Refusal(grpc.StatusCode.UNAVAILABLE, late=True)  # done, and nobody learns of it


class Typed(NamedTuple):
    """A command, the call that it makes, and what there is before."""

    line: str
    method: str
    prepare: Callable[[Rig], Awaitable[object]]


async def _in_flight(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.lease_one("a", lease_duration=600)


async def _in_flight_like_an_option(rig: Rig) -> None:
    await rig.start("-x", CHAIN)
    await rig.lease_one("a", "-x", lease_duration=600)


async def _dead(rig: Rig) -> None:
    for n in range(3):
        await rig.dead(f"x-{n}", {"a": ()}, "a")


async def _paused(rig: Rig) -> None:
    await rig.client.pause(task_name="t")
    await rig.start("x", CHAIN)


async def _exempt(rig: Rig) -> None:
    await _paused(rig)
    [rule] = [rule async for rule in rig.client.list_pause_rules()]
    await rig.client.update_pause_rule(rule.rule_id, exempt=["x"])


async def _ended(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    await rig.work()
    await make_old(rig.db)


COMMANDS = {
    "restart": Typed("restart x", "Restart", _in_flight),
    "restart of -x": Typed("restart -- -x", "Restart", _in_flight_like_an_option),
    "rerun": Typed("rerun x", "Rerun", _in_flight),
    "cancel": Typed("cancel x", "CancelExecution", _in_flight),
    "complete-step": Typed("complete-step x a --result 1 --fence", "CompleteStep", _in_flight),
    "fail-step": Typed("fail-step x a --message no --fence", "FailStep", _in_flight),
    "resume": Typed("resume --task-name t", "Resume", _paused),
    "exempt": Typed("exempt {rule} x --undo", "UpdatePauseRule", _exempt),
    "pause-update": Typed("pause-update {rule} --forever", "UpdatePauseRule", _paused),
    "batch of ids": Typed(
        "batch restart --execution-id x-0 --execution-id x-2 --no-wait", "CreateBatch", _dead
    ),
    "batch": Typed("batch restart --status failed --no-wait", "CreateBatch", _dead),
    "resolve": Typed("resolve x a happened", "ResolveInDoubt", in_doubt),
    "purge": Typed("purge --older-than 30d", "PurgeExecutions", _ended),
    "retention set": Typed("retention set t 30d", "SetRetention", _ended),
}


# A plan is asked for by the method of the deed.
PLANS = {"resume": 1, "batch": 1, "batch of ids": 1, "purge": 1}


def printed_line(seen: str) -> str:
    """Return the last line, as it is pasted."""
    last = seen.rstrip().splitlines()[-1]
    assert last.startswith("zart ")
    return shlex.join([sys.executable, "-m", "zart.cli", *shlex.split(last)[1:]])


@pytest.mark.parametrize("name", COMMANDS)
async def test_what_was_typed_and_lost_is_told_by_the_line(
    rig: Rig, zart_server: ServerUnderTest, name: str
) -> None:
    line, method, prepare = COMMANDS[name]
    await prepare(rig)
    rules = [rule.rule_id async for rule in rig.client.list_pause_rules()]
    async with Between(zart_server.address) as proxy:

        def lose(called: str, _request: bytes) -> Refusal | None:
            is_plan = proxy.passed[method] < PLANS.get(name, 0)
            return LOST if called == method and not is_plan else None

        proxy.refuse = lose
        terminal = Terminal(proxy.address)
        words = line.format(rule=rules[0] if rules else "").split()
        code, seen = await asyncio.to_thread(terminal.run, *words, answer="y")
        assert code == 3, seen
        assert "whether it happened is unknown" in seen
        proxy.refuse = lambda *_: None
        again, told = await asyncio.to_thread(terminal.paste, printed_line(seen))
    assert again == 0, told
    (request_id,) = re.findall(r"--request-id (\w+)", seen)
    done = [o.kind async for o in rig.client.list_operations() if o.request_id == request_id]
    assert len(done) == 1
    assert len([b async for b in rig.client.list_batches()]) == (method == "CreateBatch")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_who_stops_what_was_sent_is_told_that_it_may_be_done(
    rig: Rig, zart_server: ServerUnderTest, number: signal.Signals, code: int
) -> None:
    await rig.start("x", CHAIN)
    async with rig.locked("SELECT FROM zart.executions FOR UPDATE"):
        words = Terminal(zart_server.address).words("restart", "x")
        command = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        await rig.until_waiting()
        command.send_signal(number)
        _, err = await command.communicate()
    assert command.returncode == code
    seen = err.decode()
    assert "nothing more was asked" not in seen
    assert "stopped; whether it happened is unknown" in seen
    repeated = Terminal(zart_server.address).paste(printed_line(seen))
    assert repeated[0] == 0, repeated
    assert re.search("x:run:1", repeated[1])
    assert [run.run_number async for run in rig.client.list_runs("x")] == [0, 1]
