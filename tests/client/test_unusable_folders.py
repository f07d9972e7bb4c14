"""A folder that cannot be used is told in a line: it is read-only, or a file is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ports import free_port
from waiting import GIVE_UP


def zart_process(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own, with none of our settings."""
    return subprocess.run(
        [sys.executable, "-m", "zart.cli", *words],
        env={name: value for name, value in os.environ.items() if not name.startswith("ZART_")},
        capture_output=True,
        text=True,
        check=False,
        timeout=GIVE_UP,
    )


@pytest.mark.parametrize(
    ("file", "folder", "told"),
    [
        ("file", "file", "file cannot be used: File exists"),
        ("file", "file/below", "file/below cannot be used: Not a directory"),
        ("data/postgres/data.new", "data", "data.new cannot be used: File exists"),
    ],
)
def test_dev_says_what_cannot_be_used(tmp_path: Path, file: str, folder: str, told: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    listens = [f"127.0.0.1:{free_port()}", "--http", f"127.0.0.1:{free_port()}"]
    done = zart_process("dev", "--folder", str(tmp_path / folder), "--listen", *listens)
    assert done.returncode == 1
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("file", "folder", "told"),
    [
        ("file", "file", "file/google/api cannot be used: Not a directory"),
        ("file", "file/below", "file/below/google/api cannot be used: Not a directory"),
        ("protos/zart/v1", "protos", "protos/zart/v1 cannot be used: File exists"),
    ],
)
def test_protos_say_what_cannot_be_used(tmp_path: Path, file: str, folder: str, told: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    done = zart_process("protos", str(tmp_path / folder))
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
