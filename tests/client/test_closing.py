"""A client for plain code whose call was broken off as it began is closed all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from client.no_threads import no_more_threads
from ports import free_port
from waiting import GIVE_UP

import zart

TESTS = Path(__file__).parents[1]


def break_off(address: str) -> None:
    """Begin a watch that gets no thread, as one does which Ctrl-C meets just then; close, and end."""
    with zart.connect_sync(address) as client:
        watch = client.watch_execution("x")
        try:
            with no_more_threads():
                next(iter(watch))
        except RuntimeError as error:
            print(error)
    print("closed")


def test_it_ends_with_its_process() -> None:
    command = [sys.executable, "-m", "client.test_closing", f"127.0.0.1:{free_port()}"]
    ended = subprocess.run(
        command, cwd=TESTS, capture_output=True, text=True, timeout=GIVE_UP, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "can't start new thread\nclosed\n"), ended.stderr


if __name__ == "__main__":
    break_off(sys.argv[1])
