"""A PostgreSQL of one's own that recovers for long, as after a crash, is waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ports import free_port
from waiting import GIVE_UP, block_until

from zart.testing.fixtures import execute
from zart_server.embedded import postgres

_START = 3.0  # seconds that it has until it says anything
# Recovery asks for what is archived, of which there is nothing, and the first answer takes longer.
_SLOWLY = "restore_command=test -e asked || { touch asked; sleep 5; }; false"


def test_it_has_the_time_that_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres.running(tmp_path, durable=False) as database:
        execute(database.url, "CREATE TABLE kept ()")
    (tmp_path / "data" / "recovery.signal").touch()
    monkeypatch.setattr(postgres, "_START", _START)

    with postgres.running(tmp_path, durable=False, settings=["hot_standby=off", _SLOWLY]) as db:
        execute(db.url, "DROP TABLE kept")

    assert (tmp_path / "data" / "asked").exists()


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
