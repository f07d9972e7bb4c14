"""Runs the ``zart`` command in this process, at a terminal or in a pipe, and keeps what it printed."""

from __future__ import annotations

import os
import pty
import sys
import termios
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from zart.cli.main import main


@dataclass(frozen=True)
class Printed:
    """What a command printed; at a terminal all of it is in ``out``."""

    code: int
    out: str
    err: str


class _Reader(threading.Thread):
    """Reads a file descriptor to its end."""

    def __init__(self, number: int) -> None:
        super().__init__(daemon=True)
        self._number = number
        self._read = bytearray()
        self.start()

    def run(self) -> None:
        try:
            while some := os.read(self._number, 65536):
                self._read += some
        except OSError:  # how Linux says that the other side of a terminal is closed
            pass
        os.close(self._number)

    def text(self, encoding: str) -> str:
        self.join()
        return self._read.decode(encoding)


def zart_command(
    monkeypatch: pytest.MonkeyPatch,
    arguments: Sequence[str],
    *,
    columns: int | None = None,
    encoding: str = "utf-8",
) -> Printed:
    """Run a command line: at a terminal of so many columns, None: in a pipe. Nobody answers it."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    if columns is None:
        ends = [os.pipe(), os.pipe()]
    else:
        person, terminal = pty.openpty()
        attributes = termios.tcgetattr(terminal)
        attributes[1] &= ~termios.OPOST  # newlines stay what they are
        termios.tcsetattr(terminal, termios.TCSANOW, attributes)
        termios.tcsetwinsize(terminal, (50, columns))
        ends = [(person, terminal)]
    readers = [_Reader(end) for end, _ in ends]
    streams = [os.fdopen(end, "w", encoding=encoding) for _, end in ends]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[-1])
        try:
            code = main(arguments)
        finally:
            for stream in streams:
                stream.close()
    texts = [reader.text(encoding) for reader in readers]
    return Printed(code, texts[0], texts[-1])
