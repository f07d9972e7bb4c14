"""A purge that is stopped midway, by whomever, says how much has gone by then."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from typing import Any

import pytest
from client.at_terminal import Terminal
from client.in_bytes import Context, answering
from client.scripted import Run, Script, refusal
from google.rpc import code_pb2, status_pb2
from waiting import for_ever

from zart.cli.main import main
from zart.v1 import retention_service_pb2 as retention

LINE = "purge --older-than 9d --yes"
STOPPED = "removed 2 so far"
BEGUN = "it was begun before: what went since then is not in the total"


def removed(
    count: int, token: str = "", *, replayed: bool = False
) -> retention.PurgeExecutionsResponse:
    """Make the answer of a call that removed so many."""
    task = retention.PurgedTask(task_name="t", removed_executions=count)
    return retention.PurgeExecutionsResponse(
        tasks=[task], is_partial=bool(token), next_page_token=token, replayed=replayed
    )


def answers(*made: retention.PurgeExecutionsResponse | status_pb2.Status) -> list[tuple[str, Any]]:
    """Name the method that answers so."""
    return [("PurgeExecutions", one) for one in made]


def test_refused_midway(run: Run) -> None:
    no = refusal(code_pb2.PERMISSION_DENIED, "ROLE_REQUIRED", "admins only")
    code, out, err, _ = run(LINE, *answers(removed(2, "1"), no))
    assert (code, out) == (1, "")
    assert err.splitlines() == ["removed 2 …", STOPPED, "zart: admins only [ROLE_REQUIRED]"]
    _, _, err, _ = run(LINE, *answers(no))
    assert err.splitlines() == ["zart: admins only [ROLE_REQUIRED]"]


def test_unanswered_midway(run: Run) -> None:
    lost = refusal(code_pb2.UNAVAILABLE, "STORE_UNAVAILABLE", "down")
    code, _, err, requests = run(LINE, *answers(removed(2, "1"), lost))
    assert code == 3
    lines = err.splitlines()
    assert lines[1] == STOPPED
    assert "whether it happened is unknown" in lines[-2]
    words = shlex.split(lines[-1])
    assert words[words.index("--request-id") + 1] == requests[0].request_id


@pytest.mark.parametrize(
    ("line", "made", "is_told"),
    [
        (f"{LINE} --request-id r", [removed(2, "1", replayed=True), removed(3)], True),
        (f"{LINE} --request-id r", [removed(2, replayed=True)], False),  # all of it went then
        (f"{LINE} --request-id r", [removed(2, "1"), removed(3, replayed=True)], False),
        (LINE, [removed(2, "1", replayed=True), removed(3)], False),  # the channel repeated it
    ],
)
def test_a_repeat_says_what_is_not_in_its_total(
    run: Run, line: str, made: list[retention.PurgeExecutionsResponse], *, is_told: bool
) -> None:
    code, _, err, _ = run(line, *answers(*made))
    assert (code, BEGUN in err) == (0, is_told)
    # Of one that goes on deleting nobody is told that it was done.
    is_of_then = "--request-id" in line and made[-1].replayed
    assert ("it was done before" in err) == is_of_then


def test_it_goes_on_where_nobody_reads_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script(*answers(removed(2, "1"), removed(3)))
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        code = main(shlex.split(LINE), script.open)
    assert code == 0
    assert "5 removed" in capsys.readouterr().out
    assert len(script.requests) == 2


async def test_ctrl_c_midway() -> None:
    is_waiting = asyncio.Event()

    async def purge(request: bytes, _context: Context) -> bytes:
        if retention.PurgeExecutionsRequest.FromString(request).page_token:
            is_waiting.set()
            await for_ever()
        return removed(2, "1").SerializeToString()

    async with answering(purge) as address:
        command = await asyncio.create_subprocess_exec(
            *Terminal(address).words(*LINE.split()),
            stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await is_waiting.wait()
        command.send_signal(signal.SIGINT)
        _, err = await command.communicate()
    assert command.returncode == 130
    lines = err.decode().splitlines()
    assert lines[:2] == ["removed 2 …", STOPPED]
    assert "stopped; whether it happened is unknown" in lines[2]
    assert lines[3].startswith(f"zart --address {address} {LINE} --request-id ")
