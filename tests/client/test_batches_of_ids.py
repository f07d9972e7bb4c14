"""Batches of named executions: where their ids come from, and what is told of them."""

from __future__ import annotations

import asyncio
import io
import os
import shlex
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from batching import dead_steps
from client.scripted import Run, refusal
from google.rpc import code_pb2, error_details_pb2
from rig import Rig

from zart.cli.main import main
from zart.testing.server import ServerUnderTest
from zart.v1 import batch_pb2, filter_pb2
from zart.v1 import batch_service_pb2 as pb

OF_EXECUTIONS = ("retry-step", "restart", "rerun", "cancel-execution")
BY_HAND = ("complete-step --skip", "fail-step --message no")
AGAIN = ", given the same on standard input again:"
MADE = batch_pb2.Batch(
    batch_id="ba-7k2m9x4q",
    operation=batch_pb2.BatchOperation(retry_step=batch_pb2.BatchRetryStep()),
    selection=filter_pb2.ExecutionSelection(everything=True),
    counts=batch_pb2.BatchCounts(selected=1, pending=1),
)
CREATED = ("CreateBatch", pb.CreateBatchResponse(batch=MADE))
PLANNED = (
    "CreateBatch",
    pb.CreateBatchResponse(plan=batch_pb2.BatchPlan(), plan_token="AQtok", planned=True),
)


def type_in(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Have this on standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def ids_of(request: Any) -> list[str]:
    """Return the ids that a request names; no other way of selection is taken."""
    assert request.selection.WhichOneof("by") == "execution_ids"
    return list(request.selection.execution_ids.execution_ids)


@pytest.mark.parametrize("command", OF_EXECUTIONS)
def test_ids_are_taken_as_typed_and_from_a_file(run: Run, tmp_path: Path, command: str) -> None:
    file = tmp_path / "ids"
    file.write_bytes(b"\xef\xbb\xbforder-7\r\n\r\n \n order 8 \n--x\nb\xc3\xa9\norder-7")
    line = f"batch {command} --execution-id order-9 --execution-id order-7 --ids-from {file}"
    code, _, _, (request,) = run(f"{line} --yes --no-wait", CREATED)
    assert code == 0
    assert ids_of(request) == ["order-9", "order-7", "order-7", " order 8 ", "--x", "bé", "order-7"]


def test_ids_are_read_from_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    type_in(monkeypatch, b"a\nb\n")
    code, _, _, (request,) = run("batch restart --ids-from - --yes --no-wait", CREATED)
    assert (code, ids_of(request)) == (0, ["a", "b"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("", "by a filter, by --execution-id and --ids-from, or --everything"),
        ("--execution-id x --everything", "and by one of these only"),
        ("--execution-id x --task-name t", "and by one of these only"),
        ("--ids-from {file} --status failed", "and by one of these only"),
        ("--ids-from {file} --everything", "and by one of these only"),
        ("--ids-from {file}-not", "--ids-from: {file}-not: No such file or directory"),
        ("--ids-from {folder}", "--ids-from: {folder}: Is a directory"),
        ("--ids-from {blank}", "--ids-from: {blank} names no execution"),
        ("--ids-from {blank} --execution-id x", "--ids-from: {blank} names no execution"),
        ("--ids-from {latin}", "--ids-from: {latin} is no UTF-8"),
        ("--ids-from -", "--ids-from: standard input names no execution"),
        ("--ids-from - --payload -", "--ids-from: standard input can be one thing only"),
    ],
)
def test_what_names_nobody_is_told_and_nothing_is_sent(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: str, told: str
) -> None:
    type_in(monkeypatch, b"7" if "--payload" in options else b"\n \r\n")
    contents = {"file": b"x", "blank": b" \n\r\n\n", "latin": b"\xe9\n"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    names = {name: str(tmp_path / name) for name in contents} | {"folder": str(tmp_path)}
    code, out, err, requests = run(f"batch restart {options.format(**names)} --yes")
    assert (code, out, requests) == (2, "", [])
    assert told.format(**names) in err


def test_the_line_that_applies_names_them_as_they_were_named(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "my ids"
    file.write_text("x\ny\n")
    options = ["--execution-id", "z", "--ids-from", str(file)]
    line = shlex.join(["batch", "restart", "--dry-run", *options])
    code, out, _, (request,) = run(line, PLANNED)
    *_, told, applies = out.splitlines()
    assert (code, told) == (0, "nothing was done; this does it, or nothing:")
    assert shlex.split(applies) == [
        "zart", "batch", "restart", "--plan-token", "AQtok", *options
    ]  # fmt: skip
    code, _, _, (applied,) = run(f"{applies.removeprefix('zart ')} --no-wait", CREATED)
    assert (code, applied.plan_token, applied.selection) == (0, "AQtok", request.selection)


@pytest.mark.parametrize("options", ["--ids-from -", "--ids-from=-", "--everything --payload -"])
def test_what_came_from_standard_input_is_to_be_given_again(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    type_in(monkeypatch, b"7")
    code, out, _, _ = run(f"batch restart {options} --dry-run", PLANNED)
    assert (code, out.splitlines()[-2]) == (0, f"nothing was done; this does it, or nothing{AGAIN}")

    lost = refusal(code_pb2.UNAVAILABLE, "STORE_UNAVAILABLE", "the database is away")
    type_in(monkeypatch, b"7")
    code, _, err, (request,) = run(f"batch restart {options} --yes", ("CreateBatch", lost))
    told, line = err.splitlines()[-2:]
    assert (code, told.endswith(f"does it at most once{AGAIN}")) == (3, True)
    type_in(monkeypatch, b"7")
    _, _, _, (repeated,) = run(f"{line.removeprefix('zart ')} --no-wait", CREATED)
    assert repeated == request


def test_what_a_file_holds_but_once_is_to_be_given_again(run: Run, tmp_path: Path) -> None:
    """As that of ``<(…)`` in a shell does."""
    once = tmp_path / "once"
    os.mkfifo(once)
    shell = threading.Thread(target=once.write_bytes, args=(b"x\n",))
    shell.start()
    code, out, _, (request,) = run(f"batch restart --ids-from {once} --dry-run", PLANNED)
    shell.join()
    assert (code, ids_of(request)) == (0, ["x"])
    assert out.splitlines()[-2].endswith(f"or nothing, with the same in {once} again:")


def violated(field: str, what: str) -> tuple[str, Any]:
    """Refuse a field."""
    violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=what)
    status = refusal(code_pb2.INVALID_ARGUMENT, "INVALID_FIELD", f"{field}: {what}")
    status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    return "CreateBatch", status


NAMES = "selection.execution_ids.execution_ids"


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ("--execution-id x --execution-id y", "--execution-id"),
        ("--ids-from {file}", "--ids-from"),
        ("--execution-id x --ids-from {file}", "--execution-id, --ids-from"),
    ],
)
def test_what_is_refused_of_ids_is_told_of_what_they_came_by(
    run: Run, tmp_path: Path, options: str, option: str
) -> None:
    file = tmp_path / "ids"
    file.write_text("x\ny\n")
    line = f"batch restart {options.format(file=file)} --yes"
    code, _, err, _ = run(line, violated(f"{NAMES}[1]", "has more than 255 bytes"))
    assert (code, err) == (
        1, f"zart: {option} (number 2): has more than 255 bytes [INVALID_FIELD]\n",
    )  # fmt: skip
    for field in (NAMES, "selection"):
        many = refusal(
            code_pb2.RESOURCE_EXHAUSTED, "TOO_MANY_ITEMS",
            f"{field}: 1000001 items, at most 1000000 are taken", field=field,
        )  # fmt: skip
        code, _, err, _ = run(line, ("CreateBatch", many))
        assert (code, err) == (
            1, f"zart: {option}: 1000001 items, at most 1000000 are taken [TOO_MANY_ITEMS]\n",
        )  # fmt: skip


def test_what_is_too_many_of_all_there_is_is_told_so(run: Run) -> None:
    many = refusal(
        code_pb2.RESOURCE_EXHAUSTED, "TOO_MANY_ITEMS", "selection: 2 items", field="selection"
    )
    _, _, err, _ = run("batch restart --everything --yes", ("CreateBatch", many))
    assert err == "zart: --everything: 2 items [TOO_MANY_ITEMS]\n"
    other = refusal(code_pb2.RESOURCE_EXHAUSTED, "TOO_MANY_ITEMS", "no: 2 items", field="selection")
    _, _, err, _ = run("batch restart --everything --yes", ("CreateBatch", other))
    assert err == "zart: no: 2 items [TOO_MANY_ITEMS]\n"


async def zart(server: ServerUnderTest, line: str) -> int:
    """Run a command against the server, and return its exit code."""
    words = ["--address", server.address, *shlex.split(line)]
    return await asyncio.to_thread(main, words)


async def test_a_batch_is_of_those_that_are_named(
    rig: Rig, zart_server: ServerUnderTest, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    await dead_steps(rig.client, 4)
    file = tmp_path / "ids"
    file.write_text("x-1\nx-0\n")
    line = f"batch retry-step --execution-id x-0 --ids-from {file}"
    assert await zart(zart_server, f"{line} --dry-run") == 0
    planned, *_, applies = capsys.readouterr().out.splitlines()
    assert planned == "would be of 2 items in 2 executions"
    assert await zart(zart_server, line) == 2  # nobody is asked
    file.write_text("x-1\nx-0\nx-2\n")
    assert await zart(zart_server, applies.removeprefix("zart ")) == 1
    assert "PLAN_CHANGED" in capsys.readouterr().err
    file.write_text("x-1\nx-0\n")
    assert await zart(zart_server, applies.removeprefix("zart ")) == 0
    [batch] = await rig.client.list_batches()
    assert batch.counts.done == 2
    assert "of         2 named executions: x-0, x-1" in capsys.readouterr().out.splitlines()
    runs = [await rig.run_status(f"x-{n}") for n in range(4)]
    assert runs == ["RUNNING", "RUNNING", "FAILED", "FAILED"]

    assert await zart(zart_server, "batch cancel-execution --execution-id x-3 --yes") == 4
    assert await zart(zart_server, "batch restart --execution-id nobody --yes") == 1


@pytest.mark.parametrize("command", BY_HAND)
async def test_what_is_done_by_hand_takes_no_ids_and_says_so(
    zart_server: ServerUnderTest, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert await zart(zart_server, f"batch {command} --execution-id x --yes") == 1
    told = "zart: --execution-id: has no condition on steps, such as --step: which ones?"
    assert told in capsys.readouterr().err
    assert await zart(zart_server, f"batch {command.split(maxsplit=1)[0]} --help") == 0
    assert "--execution-id" not in capsys.readouterr().out
