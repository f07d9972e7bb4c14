"""A PostgreSQL of one's own that recovers for long, as after a crash, is waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from waiting import GIVE_UP, block_until

from zart.testing.fixtures import execute
from zart_server.embedded import postgres

# Recovery asks for what is archived, of which there is nothing, and is told so once it was waited
# for long; after a minute all the same, or where that fails it would go on for ever.
_SLOWLY = (
    "restore_command=n=0; until [ -e long_enough ] || [ $n -ge 600 ]; do"
    " sleep 0.1; n=$((n + 1)); done; false"
)
_run = subprocess.run


class Waited:
    """A clock by which PostgreSQL takes long, however little time that is.

    Whenever it says that it is not ready, twice as long has passed as it has until it says
    anything. After some times of these ``long_enough`` is made.
    """

    sleep = staticmethod(time.sleep)

    def __init__(self, long_enough: Path) -> None:
        self.times = 0
        self._long_enough = long_enough

    def monotonic(self) -> float:
        """Return the time, in seconds."""
        return time.monotonic() + self.times * 2 * postgres._START

    def run(self, command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        """Run a program to its end."""
        done = _run(command, **options)
        if Path(command[0]).name == "pg_isready" and done.returncode == postgres._REJECTS:
            self.times += 1
            if self.times >= 3:
                self._long_enough.touch()
        return done


def test_it_has_the_time_that_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres.running(tmp_path, durable=False) as database:
        execute(database.url, "CREATE TABLE kept ()")
    (tmp_path / "data" / "recovery.signal").touch()
    waited = Waited(tmp_path / "data" / "long_enough")
    monkeypatch.setattr(postgres, "time", waited)
    monkeypatch.setattr(subprocess, "run", waited.run)

    with postgres.running(tmp_path, durable=False, settings=["hot_standby=off", _SLOWLY]) as db:
        execute(db.url, "DROP TABLE kept")

    assert waited.times >= 3


def test_whoever_stops_it_meanwhile_is_obeyed(tmp_path: Path) -> None:
    """Its event loop stands still then; a second start goes on where the first was."""
    with postgres.running(tmp_path / "postgres", durable=False) as database:
        execute(database.url, "CREATE TABLE kept ()")
    data = tmp_path / "postgres" / "data"
    (data / "recovery.signal").touch()
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write("hot_standby = off\nrestore_command = 'touch asked; sleep 20; false'\n")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ZART_")}
    command = [sys.executable, "-m", "zart.cli", "dev", "--folder", str(tmp_path),
               "--listen", f"127.0.0.1:{free_port()}", "--http", f"127.0.0.1:{free_port()}"]  # fmt: skip
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as dev:
        block_until((data / "asked").exists)
        dev.send_signal(signal.SIGINT)
        _, said = dev.communicate(timeout=GIVE_UP)

    assert dev.returncode == 1
    assert "stopped while PostgreSQL was starting" in said
    (data / "recovery.signal").unlink()
    with postgres.running(tmp_path / "postgres", durable=False) as database:
        execute(database.url, "DROP TABLE kept")
