"""A person at a terminal, a real one in a pty, who answers what the command asks."""

from __future__ import annotations

import codecs
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from waiting import GIVE_UP

from zart.cli.main import main

ASKED = re.compile(r"\[y/N\]: $")
ENVIRONMENT = {"TERM": "dumb", "COLUMNS": "160", "NO_COLOR": "1"}


class _Person(threading.Thread):
    """Reads all that is seen, until the other side is closed, and answers each question."""

    def __init__(self, end: int, answer: str, meanwhile: Callable[[], object]) -> None:
        super().__init__(name="person")
        self._end, self._answer, self._meanwhile = end, answer, meanwhile
        self._seen = ""
        self._problem: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._read()
        except BaseException as problem:  # noqa: BLE001 - raised by ``seen``
            self._problem = problem
        os.close(self._end)

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end within a character
        while True:
            try:
                some = os.read(self._end, 4096)
            except OSError:  # how Linux says that the other side is closed
                return
            if not some:
                return
            self._seen += decoder.decode(some).replace("\r", "")
            if ASKED.search(self._seen):
                assert self._answer, f"asked, but should not have: {self._seen}"
                self._meanwhile()
                os.write(self._end, f"{self._answer}\n".encode())

    def seen(self) -> str:
        self.join()
        if self._problem is not None:
            raise self._problem
        return self._seen


@dataclass
class Terminal:
    """A person at a terminal who answers every question the same, after ``meanwhile``."""

    address: str
    meanwhile: Callable[[], object] = bool

    def run(self, *arguments: str, answer: str = "") -> tuple[int, str]:
        """Run the command, in this process; gives its exit code and all that was seen."""
        end, terminal = pty.openpty()
        person = _Person(end, answer, self.meanwhile)
        try:
            code = self._run(terminal, arguments)
        finally:  # what the person has met comes first: who has left is why the command failed
            seen = person.seen()
        return code, seen

    def _run(self, terminal: int, arguments: Sequence[str]) -> int:
        with (
            pytest.MonkeyPatch.context() as patch,
            os.fdopen(terminal, closefd=False) as typed,
            os.fdopen(terminal, "w") as shown,
        ):
            for name, value in ENVIRONMENT.items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", typed)
            patch.setattr(sys, "stdout", shown)
            patch.setattr(sys, "stderr", shown)
            return main(["--address", self.address, *arguments])

    def words(self, *arguments: str) -> list[str]:
        """Return the words of the command, for a process of its own."""
        return [sys.executable, "-m", "zart.cli", "--address", self.address, *arguments]

    def paste(self, line: str, answer: str = "") -> tuple[int, str]:
        """Run a line in a shell; gives its exit code and all that was seen."""
        end, terminal = pty.openpty()
        command = subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", line],
            stdin=terminal, stdout=terminal, stderr=terminal, close_fds=True,
            env={**os.environ, **ENVIRONMENT},
        )  # fmt: skip
        os.close(terminal)
        seen = _Person(end, answer, self.meanwhile).seen()
        return command.wait(GIVE_UP), seen
