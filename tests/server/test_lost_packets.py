"""A network that drops what is sent, without a word, where a machine lets tests have one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
APART = ["unshare", "--net"]
"""A network of one's own; for who is not root, as a user of whom it is its own."""
AS_USER = ["unshare", "--user", "--map-current-user", "--keep-caps", "--net"]
TRY = "ip link add here type veth peer name there && nsenter --target=$$ --net true"


def apart() -> list[str]:
    """Return what runs a program in a network of its own; skips the test where nothing does."""
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"there is no {' and no '.join(missing)}")
    said = b""
    for command in (APART, AS_USER):
        tried = subprocess.run([*command, "sh", "-c", TRY], check=False, capture_output=True)
        if tried.returncode == 0:
            return command
        said = tried.stderr
    pytest.skip(f"no network of its own: {said.decode(errors='replace').strip()}")


def test_what_a_network_loses_without_a_word_keeps_nobody_waiting() -> None:
    inside = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0"]
    ran = subprocess.run(
        [*apart(), *inside, str(TESTS / "server" / "lost_packets.py")],
        cwd=TESTS.parent, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
