"""A command that is stopped says what it has done, or may have, wherever it was just then."""

from __future__ import annotations

import asyncio
import shlex
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from client.scripted import RULE, Run, Script
from google.protobuf.timestamp_pb2 import Timestamp
from rig import Rig, eventually
from waiting import GIVE_UP

import zart.cli
from zart.cli.interrupts import Interrupts
from zart.cli.main import _run, main
from zart.testing.server import ServerUnderTest
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution
from zart.v1 import pause_rule_pb2 as rules

_MOMENTS = 25  # of each command
_COMMANDS = str(Path(zart.cli.__file__).parent)
_DRAINED = rules.PauseRule()
_DRAINED.CopyFrom(RULE)
_DRAINED.drained_at.CopyFrom(Timestamp(seconds=1_800_000_000))
_STARTED = states.Execution(execution_id="x", task_name="order", current_run_id="x:run:0")
PAUSE = ("Pause", admin.PauseResponse(rule=RULE, running_steps=3))
CHANGES: dict[str, list[Any]] = {
    "pause --task-name order": [PAUSE],
    "pause --task-name order --wait": [
        PAUSE,
        ("WatchPauseRule", [admin.WatchPauseRuleResponse(rule=_DRAINED)]),
    ],
    "start order --execution-id x": [
        ("StartExecution", execution.StartExecutionResponse(execution=_STARTED))
    ],
}


class Interrupted:
    """Raises KeyboardInterrupt before the n-th line of the CLI's own modules."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.lines = 0
        self.has_begun = False

    def __call__(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        code = frame.f_code
        if code is _run.__code__:
            self.has_begun = True
        if not (self.has_begun and code.co_filename.startswith(_COMMANDS)):
            return None
        if code.co_filename == main.__code__.co_filename:
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                raise KeyboardInterrupt
        return self


def interrupted(line: str, at: int) -> tuple[int, list[Any], int]:
    """Run a command that Ctrl-C meets there; gives the code, what was asked, and its lines."""
    script, tracing = Script(*CHANGES[line.removesuffix(" -o json")]), Interrupted(at)
    before = sys.gettrace()
    sys.settrace(tracing)
    try:
        code = main(shlex.split(line), script.open)
    finally:
        sys.settrace(before)
    return code, script.requests, tracing.lines


@pytest.mark.parametrize("output", ["", " -o json"], ids=["words", "json"])
@pytest.mark.parametrize("line", CHANGES)
def test_wherever_it_is_met_it_is_known_what_was_asked(
    run: Run, capsys: pytest.CaptureFixture[str], line: str, output: str
) -> None:
    line += output
    _, _, lines = interrupted(line, 0)
    capsys.readouterr()
    for at in range(1, lines, max(1, lines // _MOMENTS)):
        code, requests, _ = interrupted(line, at)
        printed = capsys.readouterr()
        assert code in {0, 130}, at
        assert "Traceback" not in printed.err
        told = printed.out + printed.err
        known = ("--request-id", "pr-abcd1234", "x:run:0")
        assert not requests or any(word in told for word in known), (at, told)


async def test_a_script_that_is_stopped_in_a_wait_is_told_what_goes_on(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.start("x", {"a": ()})
    await rig.lease(1, lease_duration=600)
    words = ["--address", zart_server.address, "pause", "--task-name", "t", "--wait", "-o", "json"]
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "zart.cli", *words, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
    )

    async def is_made() -> bool:
        return bool(await rig.client.list_pause_rules())

    await eventually(is_made)
    command.send_signal(signal.SIGINT)
    out, err = await command.communicate()
    assert (command.returncode, out) == (130, b"")
    assert b"stopped; " in err
    assert b"zart --address" in err
    assert b"--request-id" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_migration_is_stopped_by_both(number: signal.Signals) -> None:
    """With a database that does not answer, say: a wrong address."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(GIVE_UP)
        url = f"postgresql://zart@127.0.0.1:{silent.getsockname()[1]}/zart"
        words = [sys.executable, "-m", "zart.cli", "migrate", "--database-url", url]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as command:
            try:
                with silent.accept()[0]:
                    command.send_signal(number)
                    _, err = command.communicate(timeout=GIVE_UP)
            finally:
                command.kill()
    assert command.returncode == 128 + number
    assert err == ""


def test_the_first_signal_stops_it_and_those_that_follow_it_are_the_same_wish() -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        interrupts = Interrupts()
        assert interrupts.code == 130
        interrupts.take()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(number)
        assert interrupts.code == 143
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_signals_that_somebody_else_takes_are_left_to_them() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Interrupts().take()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)
