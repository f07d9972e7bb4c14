"""No command lets an execution steer the terminal, whatever its names, errors and reasons hold."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import typer
from client.answering import answering, filled
from google.protobuf import any_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from terminal import zart_command

from zart.cli.main import app
from zart.v1 import execution_pb2 as states

# The window's title, the clipboard, colours, clearing, the bell, C1's CSI, overrides, a line's end.
HOSTILE = (
    "a\x1b]0;t\x07b\x1b]52;c;aGk=\x1b\\c\x1b[5;8md\x1b[2Je\rf\x08\x00g\x9b5mh\x85i\x7fj"
    "\u202ek\u2066l\u2028m\u200fn"
)
JSON = json.dumps({HOSTILE: HOSTILE}, ensure_ascii=False)
STEERING = {"Cc", "Cs", "Zl", "Zp"}
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
OURS = [f"\x1b[{code}m" for code in (0, 1, 31, 32, 33, 34, 35, 36, 90)]

# Every command that talks to a server, as a line; the others say nothing of an execution.
LINES = {
    "start": ["start", HOSTILE, "--wait"],
    "list": ["list"],
    "errors": ["errors"],
    "tasks": ["tasks"],
    "status": ["status", HOSTILE],
    "status of a step": ["status", HOSTILE, HOSTILE],
    "why": ["why", HOSTILE],
    "watch": ["watch", HOSTILE],
    "wait": ["wait", HOSTILE],
    "cancel": ["cancel", HOSTILE, "--yes"],
    "retry-step": ["retry-step", HOSTILE, HOSTILE],
    "complete-step": ["complete-step", HOSTILE, HOSTILE, "--result", "1", "--yes"],
    "skip-step": ["skip-step", HOSTILE, HOSTILE, "--yes"],
    "fail-step": ["fail-step", HOSTILE, HOSTILE, "--message", HOSTILE, "--yes"],
    "in-doubt": ["in-doubt"],
    "resolve": ["resolve", HOSTILE, HOSTILE, "happened"],
    "diff": ["diff", HOSTILE, "0", "1"],
    "restart": ["restart", HOSTILE, "--yes"],
    "rerun": ["rerun", HOSTILE, "--yes"],
    "pause": ["pause", "--task-name", HOSTILE],
    "resume": ["resume", "--task-name", HOSTILE, "--yes"],
    "exempt": ["exempt", HOSTILE, HOSTILE],
    "pause-update": ["pause-update", HOSTILE, "--for", "2h"],
    "pause-list": ["pause-list"],
    "breaker create": [
        "breaker",
        "create",
        "--step",
        "*",
        "--failure-threshold",
        "1",
        "--window",
        "1s",
    ],
    "breaker list": ["breaker", "list"],
    "breaker show": ["breaker", "show", HOSTILE],
    "breaker update": ["breaker", "update", HOSTILE, "--failure-threshold", "1"],
    "breaker delete": ["breaker", "delete", HOSTILE],
    "breaker trip": ["breaker", "trip", HOSTILE],
    "breaker reset": ["breaker", "reset", HOSTILE],
    "export": ["export", HOSTILE],
    "export filtered": ["export", "--task-name", HOSTILE],
    "purge": ["purge", "--older-than", "9d", "--task-name", HOSTILE, "--yes"],
    "purge planned": ["purge", "--older-than", "9d", "--dry-run"],
    "stats": ["stats"],
    "retention list": ["retention", "list"],
    "retention set": ["retention", "set", HOSTILE, "30d"],
    "retention unset": ["retention", "unset", HOSTILE],
    "batch list": ["batch", "list"],
    "batch show": ["batch", "show", HOSTILE],
    "batch items": ["batch", "items", HOSTILE],
    "batch pause": ["batch", "pause", HOSTILE],
    "batch resume": ["batch", "resume", HOSTILE],
    "batch cancel": ["batch", "cancel", HOSTILE],
    "batch update": ["batch", "update", HOSTILE, "--unpaced"],
    "batch retry-step": ["batch", "retry-step", "--step", "*", "--yes", "--no-wait"],
    "batch restart": ["batch", "restart", "--task-name", HOSTILE, "--dry-run"],
    "batch rerun": ["batch", "rerun", "--everything", "--yes", "--no-wait"],
    "batch cancel-execution": ["batch", "cancel-execution", "--everything", "--dry-run"],
    "batch complete-step": ["batch", "complete-step", "--step", "*", "--skip", "--dry-run"],
    "batch fail-step": ["batch", "fail-step", "--step", "*", "--message", HOSTILE, "--dry-run"],
    "rules": ["rules"],
    "stop-release": ["stop-release", HOSTILE],
    "verify": ["verify", HOSTILE],
    "runs": ["runs", HOSTILE],
    "history": ["history", HOSTILE],
    "audit": ["audit", "--by", HOSTILE, "--all"],
}
OTHERS = {"serve", "migrate", "dispatch", "dev", "protos", "gateway", "health", "token"}
COLUMNS = pytest.mark.parametrize("columns", [None, 80], ids=["pipe", "terminal"])


def bad(method: MethodDescriptor, _context: grpc.ServicerContext) -> Message:
    """Answer with what is hostile in every field, of runs that are FAILED."""
    return filled(method.output_type, HOSTILE, JSON, status=states.RUN_STATUS_FAILED)


def good(method: MethodDescriptor, _context: grpc.ServicerContext) -> Message:
    """Answer with what is hostile in every field, of runs that are COMPLETED."""
    return filled(method.output_type, HOSTILE, JSON, status=states.RUN_STATUS_COMPLETED)


def refusing(_method: MethodDescriptor, context: grpc.ServicerContext) -> Message:
    """Refuse, with hostile text in all that is told."""
    violation = error_details_pb2.BadRequest.FieldViolation(field=HOSTILE, description=HOSTILE)
    info = error_details_pb2.ErrorInfo(reason=HOSTILE, metadata={HOSTILE: HOSTILE})
    details = []
    for detail in (info, error_details_pb2.BadRequest(field_violations=[violation])):
        packed = any_pb2.Any()
        packed.Pack(detail)
        details.append(packed)
    code = code_pb2.INVALID_ARGUMENT
    context.abort_with_status(
        rpc_status.to_status(status_pb2.Status(code=code, message="hostile", details=details))
    )
    raise AssertionError


@pytest.fixture(scope="module", params=[bad, good, refusing], ids=lambda how: how.__name__)
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where a server is that has nothing good in mind."""
    with answering(request.param) as found:
        yield found


def steering(text: str) -> set[str]:
    """The characters that steer a terminal, but for the colours that are ours."""
    for code in OURS:
        text = text.replace(code, "")
    return {
        c for c in text if c not in "\n\t" and (unicodedata.category(c) in STEERING or c in BIDI)
    }


def test_every_command_is_here() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert {line.split()[0] for line in LINES} | OTHERS == set(commands)


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize(
    ("output", "columns"), [("table", None), ("table", 80), ("json", None)],
    ids=["pipe", "terminal", "json"],
)  # fmt: skip
def test_nothing_steers_the_terminal(
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    output: str,
    columns: int | None,
) -> None:
    printed = zart_command(
        monkeypatch, ["--address", address, "-o", output, *LINES[line]], columns=columns
    )
    assert steering(printed.out + printed.err) == set()
    if columns is None:  # nothing is left out there
        assert re.search(r"a\\(x1b|u001b)\]", printed.out + printed.err)


@COLUMNS
def test_what_is_repeated_of_a_command_line(
    monkeypatch: pytest.MonkeyPatch, columns: int | None
) -> None:
    nobody = "127.0.0.1:1"
    told = zart_command(
        monkeypatch, ["--address", nobody, "--timeout", "0.1", "status", HOSTILE], columns=columns
    )
    assert told.code == 3
    assert steering(told.out + told.err) == set()
    usage = zart_command(monkeypatch, ["list", f"--{HOSTILE}"], columns=columns)
    assert usage.code == 2
    assert steering(usage.out + usage.err) == set()


def test_the_line_to_repeat_says_the_same_in_a_shell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import subprocess

    name = HOSTILE.replace("\x00", "") + "'\\ä\n\t$(x)"
    told = zart_command(
        monkeypatch, ["--address", "127.0.0.1:1", "--timeout", "0.1", "status", name]
    )
    words = told.err.splitlines()[-1].removeprefix("zart ")
    said = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {words}"], capture_output=True, check=True
    ).stdout
    assert said.decode().split("\0")[-2] == name
