"""A person at a terminal, a real one in a pty, who answers what the command asks."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from waiting import GIVE_UP

ASKED = re.compile(r"\[y/N\]: $")


@dataclass
class Terminal:
    """A person at a terminal who answers every question the same, after ``meanwhile``."""

    address: str
    meanwhile: Callable[[], object] = bool

    def run(self, *arguments: str, answer: str = "") -> tuple[int, str]:
        """Run the command; gives its exit code and all that was seen."""
        return self.paste(shlex.join(self.words(*arguments)), answer=answer)

    def words(self, *arguments: str) -> list[str]:
        """Return the words of the command."""
        return [sys.executable, "-m", "zart.cli", "--address", self.address, *arguments]

    def paste(self, line: str, answer: str = "") -> tuple[int, str]:
        """Run a line in a shell."""
        person, terminal = pty.openpty()
        command = subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", line],
            stdin=terminal, stdout=terminal, stderr=terminal, close_fds=True,
            env={**os.environ, "TERM": "dumb", "COLUMNS": "160", "NO_COLOR": "1"},
        )  # fmt: skip
        os.close(terminal)
        seen = ""
        while True:
            try:
                some = os.read(person, 4096)
            except OSError:  # how Linux says that the other side is closed
                break
            if not some:
                break
            seen += some.decode().replace("\r", "")
            if ASKED.search(seen):
                assert answer, f"asked, but should not have: {seen}"
                self.meanwhile()
                os.write(person, f"{answer}\n".encode())
        os.close(person)
        return command.wait(GIVE_UP), seen
