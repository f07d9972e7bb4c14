"""What can be read once only has to be given again to the line that repeats or applies a command."""

from __future__ import annotations

import os
import shlex
import threading
from pathlib import Path
from typing import Any

import pytest
from client.scripted import RUN, STEP, Run, refusal
from client.test_batches_of_ids import PLANNED, type_in
from google.rpc import code_pb2

from zart.v1 import admin_service_pb2 as admin

RETRIED = ("RetryStep", admin.RetryStepResponse(step=STEP, plan_token="AQtok", planned=True))
COMPLETED = (
    "CompleteStep", admin.CompleteStepResponse(step=STEP, plan_token="AQtok", planned=True)
)  # fmt: skip
RESTARTED = ("Restart", admin.RestartResponse(run=RUN, plan_token="AQtok", planned=True))
RERUN = ("Rerun", admin.RerunResponse(plan_token="AQtok", planned=True))
LINES: dict[str, Any] = {
    "retry-step x a --input {}": RETRIED,
    "complete-step x a --result {}": COMPLETED,
    "restart x --payload={}": RESTARTED,
    "rerun x --payload {}": RERUN,
    "rerun x --input b=1 --input a={}": RERUN,
    "batch retry-step --everything --input {}": PLANNED,
    "batch complete-step --everything --result {}": PLANNED,
}
LOST = refusal(code_pb2.UNAVAILABLE, "STORE_UNAVAILABLE", "the database is away")
TYPED = ", given the same on standard input again:"


def once_in(path: Path, content: bytes = b"7") -> str:
    """Make what a shell makes of ``<(…)``; it is gone once it was read."""
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(content,), daemon=True).start()
    return str(path)


@pytest.mark.parametrize("line", LINES)
def test_a_plan_says_what_the_line_that_does_it_needs(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str
) -> None:
    def told(value: str) -> str:
        code, out, err, requests = run(f"{line.format(value)} --dry-run", LINES[line])
        assert (code, err, "7" in str(requests)) == (0, "", True)
        head, applies = out.splitlines()[-2:]
        assert shlex.split(applies)[-2:] == ["--plan-token", "AQtok"]
        return head.removeprefix("nothing was done; this does it, or nothing")

    type_in(monkeypatch, b"7")
    assert told("-") == TYPED
    once = once_in(tmp_path / "once")
    assert told(f"@{once}") == f", with the same in {once} again:"
    kept = tmp_path / "kept"
    kept.write_text("7")
    assert told(f"@{kept}") == ":"
    assert told("7") == ":"


def test_who_lost_a_start_is_told_what_its_repeat_needs(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    type_in(monkeypatch, b"7")
    code, _, err, (request,) = run("start order --payload -", ("StartExecution", LOST))
    told, line = err.splitlines()[-2:]
    assert (code, told.endswith(f"does it at most once{TYPED}")) == (3, True)
    type_in(monkeypatch, b"7")
    _, _, _, (repeated,) = run(line.removeprefix("zart "), ("StartExecution", LOST))
    assert repeated == request
    once = once_in(tmp_path / "once")
    _, _, err, _ = run(f"start order --payload @{once}", ("StartExecution", LOST))
    assert err.splitlines()[-2].endswith(f"at most once, with the same in {once} again:")


def test_both_are_told_of_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    type_in(monkeypatch, b"7")
    once = once_in(tmp_path / "ids", b"x\n")
    line = f"batch restart --ids-from {once} --payload - --dry-run"
    _, out, _, _ = run(line, PLANNED)
    typed = TYPED.removesuffix(":")
    assert out.splitlines()[-2].endswith(f"or nothing{typed}, with the same in {once} again:")


@pytest.mark.parametrize("name", ["nowhere", "x" * 5000])
def test_a_file_that_is_not_there_is_refused_as_ever(run: Run, tmp_path: Path, name: str) -> None:
    code, _, err, requests = run(shlex.join(["restart", "x", "--payload", f"@{tmp_path / name}"]))
    assert (code, requests) == (2, [])
    assert "--payload" in err
