"""A release at a rate is followed with a bar, at a terminal: to its end, or until one leaves it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
import pytest_asyncio
from client.scripted import RULE
from rig import Rig
from terminal import zart_command
from waiting import GIVE_UP

import zart
from zart.calls.admin import watch_pause_rule
from zart.cli import releasing, render
from zart.cli.values import rate_of, written_rate
from zart.testing.server import ServerUnderTest
from zart.v1 import admin_service_pb2 as admin

STEPS = 6
SLOW = "0.01/s"  # it goes on for longer than any test


class Following:
    """A person at a terminal whose command follows a release."""

    def __init__(self, address: str, *arguments: str) -> None:
        self._person, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (50, 80))
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "zart.cli", "--address", address, *arguments],
            stdin=terminal, stdout=terminal, stderr=terminal,
            env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
        os.close(terminal)
        self._seen = b""

    async def sees(self, text: str) -> None:
        """Wait until something is on the screen."""
        with self._limited():
            while text not in self._text and (some := await asyncio.to_thread(self._read)):
                self._seen += some
        assert text in self._text

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._popen.send_signal(signal.SIGINT)

    async def ends(self) -> tuple[int, str]:
        """Wait for the end; gives the exit code and all that was seen."""
        with self._limited():
            while some := await asyncio.to_thread(self._read):
                self._seen += some
        os.close(self._person)
        return await asyncio.to_thread(self._popen.wait, GIVE_UP), self._text

    @property
    def _text(self) -> str:
        return re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", self._seen.decode(errors="ignore"))

    @contextlib.contextmanager
    def _limited(self) -> Iterator[None]:
        """Kill a command that does not come to an end: nothing else ends a read."""
        limit = threading.Timer(GIVE_UP, self._popen.kill)
        limit.start()
        try:
            yield
        finally:
            limit.cancel()

    def _read(self) -> bytes:
        try:
            return os.read(self._person, 4096)
        except OSError:  # how Linux says that the other side is closed
            return b""


@pytest_asyncio.fixture
async def rule_id(rig: Rig) -> AsyncIterator[str]:
    """A rule that withholds a few steps."""
    paused = await rig.client.pause(task_name="t", reason="down")
    await rig.client.register_task("t", [zart.StepSpec("a")])
    await rig.client.batch_start_executions(
        [zart.Start("t", execution_id=f"x-{n}") for n in range(STEPS)]
    )
    yield paused.rule_id


def resuming(rule_id: str, rate: str) -> list[str]:
    """Return the words of a resume that nobody is asked about."""
    return ["resume", "--rule-id", rule_id, "--rate", rate, "--yes"]


def unbroken(seen: str) -> str:
    """Return what was seen without the ends of lines that a terminal's width made."""
    return re.sub(r"\s+", " ", seen)


async def test_it_is_followed_to_its_end(
    rig: Rig, zart_server: ServerUnderTest, rule_id: str
) -> None:
    following = Following(zart_server.address, *resuming(rule_id, SLOW))
    await following.sees(" left")
    await rig.client.resume(rule_id=rule_id, rate_per_second=3)
    code, seen = await following.ends()
    assert code == 0
    assert re.search(rf"released [1-{STEPS}], \d left", seen)
    assert f"{rule_id} is RESUMED, {STEPS} steps released" in seen
    assert await rig.client.list_pause_rules() == []


async def test_ctrl_c_leaves_it_going_and_says_so(
    rig: Rig, zart_server: ServerUnderTest, rule_id: str
) -> None:
    following = Following(zart_server.address, *resuming(rule_id, SLOW))
    await following.sees(" left")
    following.interrupt()
    code, seen = await following.ends()
    assert code == 130
    line = f"zart --address {zart_server.address} stop-release {rule_id}"
    assert f"the release goes on; this stops it:\r\n{line}\r\n" in seen
    [rule] = await rig.client.list_pause_rules()
    assert rule.status == "RELEASING"


async def test_who_stops_it_is_told_and_what_goes_on_with_it(
    rig: Rig, zart_server: ServerUnderTest, rule_id: str
) -> None:
    """It is not what was asked for: exit 4, as where a rule ends that a pause waits for."""
    rate = "0.01234567/s"  # all of its digits are in the line to be pasted
    following = Following(zart_server.address, *resuming(rule_id, rate))
    await following.sees(" left")
    await rig.client.stop_release(rule_id, triggered_by="bea", reason="it fails again")
    code, seen = await following.ends()
    assert code == 4
    told = unbroken(seen)
    assert f"{rule_id} is ACTIVE: the release was stopped by bea at 20" in told
    assert "Z: it fails again" in told
    assert re.search(rf"[01] steps? released at the pace; it withholds [{STEPS - 1}{STEPS}]", told)
    line = f"zart --address {zart_server.address} resume --rule-id {rule_id} --rate {rate}"
    assert f"this has it go on:\r\n{line}\r\n" in seen


async def test_who_lets_the_rest_go_at_once_is_told(
    rig: Rig, zart_server: ServerUnderTest, rule_id: str
) -> None:
    """Though by name it may be who began the release."""
    words = [*resuming(rule_id, SLOW), "--triggered-by", "ops"]
    following = Following(zart_server.address, *words)
    await following.sees(" left")
    await rig.client.resume(rule_id=rule_id, triggered_by="ops", reason="no time")
    code, seen = await following.ends()
    assert code == 4
    told = unbroken(seen)
    assert f"{rule_id} is RESUMED: the rest was let go at once by ops at 20" in told
    assert "Z: no time" in told
    assert re.search(r"it withheld [56] more when last seen", told)
    assert "goes on" not in told
    assert "go on" not in told


async def test_a_breaker_that_is_tripped_meanwhile_is_told(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    made = await rig.client.create_breaker(task_name="t", failure_threshold=100, window=60)
    breaker_id = made.breaker.breaker_id
    opened = await rig.client.trip_breaker(breaker_id)
    await rig.client.register_task("t", [zart.StepSpec("a")])
    await rig.client.batch_start_executions(
        [zart.Start("t", execution_id=f"x-{n}") for n in range(STEPS)]
    )
    rule_id = opened.breaker.rule_id
    following = Following(zart_server.address, *resuming(rule_id, SLOW))
    await following.sees(" left")
    await rig.client.trip_breaker(breaker_id, triggered_by="bea", reason="down again")
    code, seen = await following.ends()
    assert code == 4
    assert f"{rule_id} is ACTIVE: its breaker was opened again by bea at 20" in unbroken(seen)


async def test_a_script_does_not_wait_for_it(
    rig: Rig, zart_server: ServerUnderTest, rule_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--address", zart_server.address, *resuming(rule_id, SLOW)]
    printed = await asyncio.to_thread(zart_command, monkeypatch, words)
    assert printed.code == 0
    assert printed.out == f"releases  {STEPS} steps at {SLOW}\n"
    [rule] = await rig.client.list_pause_rules()
    assert rule.status == "RELEASING"


@pytest.mark.parametrize("rate", [0.01, 1 / 3, 40.0, 12345.678, 100_000.0])
def test_a_rate_is_written_as_the_number_that_it_is(rate: float) -> None:
    written = written_rate(rate)
    assert rate_of(f"{written}/s", "--rate") == rate
    assert not written.endswith(".0")


def test_its_end_is_told_with_the_date_unless_that_is_today() -> None:
    now = datetime(2026, 1, 31, 22, tzinfo=UTC)
    here = timezone(timedelta(hours=-5))
    assert render.until(now + timedelta(hours=1), now) == "23:00:00Z"
    assert render.until(now + timedelta(hours=3), now) == "2026-02-01 01:00:00Z"
    assert render.until((now + timedelta(hours=3)).astimezone(here), now) == "2026-02-01 01:00:00Z"
    message = admin.WatchPauseRuleResponse(rule=RULE)
    message.rule.release.rate_per_second = 0.001
    ends = datetime.now(UTC) + timedelta(days=2)
    message.rule.release.expected_end_at.FromDatetime(ends)
    rule = watch_pause_rule("x").read(message)
    assert rule.release is not None
    assert releasing._progress(rule, rule.release).endswith(f", until {render.when(ends)}")
