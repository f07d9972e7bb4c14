"""The bar of ``make run`` on a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path

ROOT = Path(__file__).parents[2]
BAR = """
from examples.run import progress_bar
with progress_bar() as progress:
    bar = progress.add_task("", total=100)
    for started in (1, 123456789):
        progress.update(bar, description=f"{started} started, {started} finished, 12345 failed")
        progress.refresh()
"""


def test_the_bar_leaves_room_for_the_end_that_is_typed() -> None:
    person, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    process = subprocess.Popen(
        [sys.executable, "-c", BAR], cwd=ROOT, stdin=terminal, stdout=terminal, stderr=terminal,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"},
    )  # fmt: skip
    os.close(terminal)
    seen = b""
    with contextlib.suppress(OSError):  # how Linux says that the other side is closed
        while some := os.read(person, 4096):
            seen += some
    os.close(person)
    assert process.wait() == 0
    frames = re.split(r"\r\x1b\[2K|\r\n", re.sub(r"\x1b\[\?25[lh]|\x1b\[0m", "", seen.decode()))
    assert max(map(len, frames)) <= 80 - len("^C")
    assert any("123456789 started" in frame for frame in frames)
