"""``zart pause --wait`` shows what is in flight until nothing is, and exits as it went."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from client.scripted import RULE, Run
from client.test_release_bar import Following
from rig import Rig, eventually
from terminal import Printed, zart_command

import zart
from zart.testing.server import ServerUnderTest
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import pause_rule_pb2 as rules

LINE = "pause --task-name order --wait"
PAUSED = admin.PauseResponse(rule=RULE, running_steps=3)
DISPATCHER = """
import asyncio, sys
import zart

task = zart.Task("t")

@task.step()
async def hang(ctx: zart.StepContext) -> None:
    print("begun", flush=True)
    await asyncio.Event().wait()

asyncio.run(zart.Dispatcher([task], address=sys.argv[1], lease=10.0).run(asyncio.Event()))
"""


def told(running: int, **more: object) -> admin.WatchPauseRuleResponse:
    """Return a message of the watch."""
    rule = rules.PauseRule()
    rule.CopyFrom(RULE)
    rule.running_steps = running
    if not running:
        rule.drained_at.FromDatetime(datetime(2026, 1, 31, 14, tzinfo=UTC))
    return admin.WatchPauseRuleResponse(rule=rule, **more)  # type: ignore[arg-type]


def test_it_ends_when_nothing_is_in_flight(run: Run) -> None:
    answers = [told(3), told(1), told(0)]
    code, out, err, (_, watched) = run(LINE, ("Pause", PAUSED), ("WatchPauseRule", answers))
    assert code == 0
    assert watched == admin.WatchPauseRuleRequest(
        rule_id="pr-abcd1234", until=admin.WATCH_UNTIL_DRAINED
    )
    assert out.splitlines()[-1] == "drained   2026-01-31 14:00:00Z"
    assert err == ""


def test_a_silent_dispatcher_is_told_once(run: Run) -> None:
    silent = told(3, silent_steps=2)
    silent.silent_until.FromDatetime(datetime(2026, 1, 31, 14, tzinfo=UTC))
    _, _, err, _ = run(LINE, ("Pause", PAUSED), ("WatchPauseRule", [silent, silent, told(0)]))
    assert err == "in flight 3; 2 may be dead: until 14:00:00Z\n"


def test_a_rule_that_ended_before_is_4(run: Run) -> None:
    ended = told(3)
    ended.rule.status = rules.PAUSE_RULE_STATUS_RESUMED
    code, _, err, _ = run(LINE, ("Pause", PAUSED), ("WatchPauseRule", [ended]))
    assert code == 4
    assert "pr-abcd1234 is RESUMED" in err
    code, out, err, _ = run(f"{LINE} -o json", ("Pause", PAUSED), ("WatchPauseRule", [ended]))
    assert (code, json.loads(out)["rule"]["status"], err) == (4, "PAUSE_RULE_STATUS_RESUMED", "")


def test_scripts_get_one_answer_with_the_rule_as_it_is_then(run: Run) -> None:
    _, out, _, _ = run(f"{LINE} -o json", ("Pause", PAUSED), ("WatchPauseRule", [told(0)]))
    answer = json.loads(out)
    assert answer["runningSteps"] == 3
    assert answer["rule"]["drainedAt"] == "2026-01-31T14:00:00Z"


def test_rules_show_what_is_withheld_at_80_columns(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = rules.PauseRule(paused_steps=1000, paused_steps_is_lower_bound=True, running_steps=0)
    rule.MergeFrom(RULE)
    rule.drained_at.FromDatetime(datetime.now(UTC) - timedelta(minutes=5, seconds=30))
    rule.created_at.FromDatetime(datetime.now(UTC) - timedelta(hours=2, minutes=1))
    answer = ("ListPauseRules", admin.ListPauseRulesResponse(rules=[rule]))
    for name in ("rules", "pause-list"):
        _, out, _, _ = run(name, answer)
        title, row = out.splitlines()[:2]
        assert title.split()[:6] == ["RULE", "MATCHES", "STATUS", "PAUSED", "RUNNING", "DRAINED"]
        assert "1000+" in row
        assert "5m ago" in row
        assert "2h" in row.split()


async def command(
    monkeypatch: pytest.MonkeyPatch, server: ServerUnderTest, line: str, columns: int | None = None
) -> Printed:
    """Run a command against a server, in a thread."""
    words = ["--address", server.address, *line.split()]
    return await asyncio.to_thread(zart_command, monkeypatch, words, columns=columns)


async def test_it_runs_out_and_the_rule_stands(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.start("x", {"a": ()})
    await rig.lease(1, lease_duration=600)
    printed = await command(monkeypatch, zart_server, "pause --task-name t --wait-for 4s")
    assert printed.code == 5
    [rule] = await rig.client.list_pause_rules()
    assert f"{rule.rule_id} stands" in printed.err
    assert (rule.status, rule.running_steps) == ("ACTIVE", 1)


async def test_no_time_to_wait_is_a_wait_that_ran_out(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.start("x", {"a": ()})
    await rig.lease(1, lease_duration=600)
    printed = await command(monkeypatch, zart_server, "pause --task-name t --wait-for 0s")
    assert (printed.code, "is not drained after" in printed.err) == (5, True), printed


async def test_no_time_to_wait_is_enough_where_nothing_is_in_flight(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.start("x", {"a": ()})
    printed = await command(monkeypatch, zart_server, "pause --task-name t --wait-for 0s")
    assert (printed.code, printed.err) == (0, ""), printed


async def test_a_bar_shows_2000_steps_that_end_and_those_of_a_dead_dispatcher(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    count, dead = 2_000, 7
    await rig.client.register_task("t", [zart.StepSpec("a")])
    for begin in range(0, count, 500):
        await rig.client.batch_start_executions(
            [zart.Start("t", execution_id=f"x-{n}") for n in range(begin, begin + 500)]
        )
    tasks = [task for _ in range(4) for task in await rig.lease(500, lease_duration=600)]
    assert len(tasks) == count
    following = Following(zart_server.address, "pause", "--task-name", "t", "--wait")
    await following.sees("in flight 2000")
    # Nobody has extended these for more than half of their time.
    tokens = [task.lease_token for task in tasks[:dead]]
    silent = "UPDATE zart.leases SET lease_expires_at = now() + $2 WHERE lease_token = ANY($1)"
    await rig.db.execute(silent, tokens, timedelta(seconds=200))
    for begin in range(0, count, 500):
        await rig.complete(*tasks[max(begin, dead) : begin + 500])
    await following.sees("in flight 7; 7 may be dead: until ")
    await rig.db.execute(silent, tokens, timedelta())
    code, seen = await following.ends()
    assert code == 0
    assert re.search(r"in flight 7; 7 may be dead: until \d\d:\d\d:\d\dZ", seen)
    assert "drained " in seen
    assert max(map(len, re.split(r"[\r\n]+", seen))) <= 80


async def test_ctrl_c_leaves_the_rule_in_force_and_says_so(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.start("x", {"a": ()})
    await rig.lease(1, lease_duration=600)
    following = Following(zart_server.address, "pause", "--task-name", "t", "--wait")
    await following.sees("0:00:")  # of the bar
    following.interrupt()
    code, seen = await following.ends()
    assert code == 130
    [rule] = await rig.client.list_pause_rules()
    line = f"zart --address {zart_server.address} resume --rule-id {rule.rule_id}"
    assert f"{rule.rule_id} stands; this ends it:\r\n{line}\r\n" in seen
    assert rule.status == "ACTIVE"


async def test_the_lease_of_a_dispatcher_killed_is_waited_for_and_told(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "hanging.py").write_text(DISPATCHER)
    dispatcher = await asyncio.create_subprocess_exec(
        sys.executable, str(tmp_path / "hanging.py"), zart_server.address, stdout=PIPE
    )
    try:
        assert dispatcher.stdout is not None

        async def is_registered() -> bool:
            return bool(await rig.client.list_task_definitions())

        await eventually(is_registered)
        await rig.client.start("t", execution_id="x")
        assert await dispatcher.stdout.readline() == b"begun\n"
    finally:
        dispatcher.kill()
        await dispatcher.wait()
    printed = await command(monkeypatch, zart_server, "pause --task-name t --wait")
    assert printed.code == 0
    assert "in flight 1; 1 may be dead: until" in printed.err
    assert await rig.statuses() == {"hang": "PAUSED"}
