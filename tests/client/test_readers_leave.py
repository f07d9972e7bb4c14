"""A command that follows something ends once nobody reads its output, though it prints nothing."""

from __future__ import annotations

import io
import os
import pty
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client.scripted import EXECUTION, RULE, Script
from client.test_batches_of_ids import MADE

from zart.cli.main import main
from zart.cli.screen import ReaderLeft, Screen
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import batch_pb2, batch_service_pb2
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution

RUNNING = states.Run(run_id="x:run:1", status=states.RUN_STATUS_RUNNING)
STATE = execution.WatchExecutionResponse(execution=EXECUTION, run=RUNNING)
STARTED = execution.StartExecutionResponse(execution=EXECUTION)
GOING = batch_pb2.Batch(batch_id="ba-7k2m9x4q", status=batch_pb2.BATCH_STATUS_RUNNING)
FOLLOWING: dict[str, tuple[str, list[Any], str, list[Any]]] = {
    "watch": ("watch x", [], "WatchExecution", [STATE, STATE]),
    "wait": ("wait x", [], "WatchExecution", [STATE, STATE]),
    "start": ("start order --wait", [], "RunExecution", [
        execution.RunExecutionResponse(started=STARTED),
        execution.RunExecutionResponse(state=STATE)]),
    "pause": ("pause --task-name t --wait", [
        ("Pause", admin.PauseResponse(rule=RULE, running_steps=1))],
        "WatchPauseRule", [admin.WatchPauseRuleResponse(rule=RULE)] * 2),
    "batch": ("batch restart --everything --yes", [
        ("CreateBatch", batch_service_pb2.CreateBatchResponse(batch=MADE))],
        "WatchBatch", [batch_service_pb2.WatchBatchResponse(batch=GOING)] * 2),
}  # fmt: skip
PRINT_AT_ONCE = {"watch", "start", "pause"}


class _Leaving(list[Any]):
    """Messages of which the last comes once the reader has seen all that was printed, and left."""

    def __init__(self, messages: list[Any], reader: int, *, sees: bool) -> None:
        super().__init__(messages)
        self._reader = reader
        self._sees = sees

    def __iter__(self) -> Iterator[Any]:
        *first, last = super().__iter__()
        yield from first
        if self._sees:
            os.read(self._reader, 65536)
        os.close(self._reader)
        yield last


@pytest.mark.parametrize("name", FOLLOWING)
def test_a_message_that_prints_nothing_tells_that_the_reader_left(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As ``| grep -m1`` does; what a server says when nothing changes is such a message."""
    line, before, method, messages = FOLLOWING[name]
    reader, writer = os.pipe()
    script = Script(*before, (method, _Leaving(messages, reader, sees=name in PRINT_AT_ONCE)))
    with os.fdopen(writer, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        assert main(line.split(), script.open) == 141


def _of_pipe() -> tuple[int, Callable[[], object]]:
    reader, writer = os.pipe()
    return writer, lambda: os.close(reader)


def _of_socket() -> tuple[int, Callable[[], object]]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.close


def _of_tcp() -> tuple[int, Callable[[], object]]:
    """Return a connection whose peer sends no more, as it never did: it goes on reading."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    theirs.shutdown(socket.SHUT_WR)
    return ours.detach(), theirs.close


@pytest.mark.parametrize("ends", [_of_pipe, _of_socket])
def test_who_reads_a_pipe_or_a_socket_is_there_until_it_is_closed(
    ends: Callable[[], tuple[int, Callable[[], object]]],
) -> None:
    number, leave = ends()
    with os.fdopen(number, "w") as stream:
        screen = Screen(stream)
        for _ in range(2):
            screen.check_reader()
            screen.line("read later")  # nor is one that has much to read yet
        leave()
        with pytest.raises(ReaderLeft):
            screen.check_reader()


def test_a_peer_that_sends_no_more_reads_on() -> None:
    number, leave = _of_tcp()
    with os.fdopen(number, "w") as stream:
        Screen(stream).check_reader()
        leave()


@pytest.mark.parametrize("path", [os.devnull, "/dev/full", "file"])
def test_a_file_has_no_reader_that_could_leave(tmp_path: Path, path: str) -> None:
    if not (path == "file" or Path(path).exists()):
        pytest.skip("Linux has a disk that is full")
    with (tmp_path / path).open("w") as stream:
        Screen(stream).check_reader()


def test_a_terminal_is_read_until_the_system_says_that_it_is_closed() -> None:
    """Whoever goes on then, as nohup does, means it."""
    person, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stream:
        screen = Screen(stream)
        screen.check_reader()
        os.close(person)
        screen.check_reader()


def test_of_what_is_no_file_and_what_is_closed_nobody_left() -> None:
    Screen(io.StringIO()).check_reader()
    with open(os.devnull, "w") as stream:  # noqa: PTH123 - as Python opens standard output
        screen = Screen(stream)
    screen.check_reader()
