"""A data folder in which a process is noted that is no PostgreSQL any more, or one that still stops."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import block_until

from zart.testing.fixtures import execute
from zart_server.embedded import postgres
from zart_server.embedded.programs import command

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody can tell")


def children_of(parent: int) -> list[int]:
    """Return the processes that a process has begun."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found


def is_running(pid: int) -> bool:
    """Whether there is such a process, which has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def lose_power(folder: Path) -> Path:
    """Make a data folder, and end all who use it at once; gives the file that notes who does."""
    with postgres.running(folder) as running:
        execute(running.url, "CREATE TABLE kept ()")
        pid = running.process.pid
        everybody = [pid, *children_of(pid)]
        for one in everybody:
            with contextlib.suppress(ProcessLookupError):  # one that was about to end has
                os.kill(one, signal.SIGKILL)
        running.process.wait()
        block_until(lambda: not any(map(is_running, everybody)))
    return folder / "data" / "postmaster.pid"


def note(pid_file: Path, pid: int) -> None:
    """Have another process be noted in place of the one that was."""
    _, _, rest = pid_file.read_text().partition("\n")
    pid_file.write_text(f"{pid}\n{rest}")


def test_a_number_that_is_somebody_elses_by_now_keeps_nobody_out(tmp_path: Path) -> None:
    pid_file = lose_power(tmp_path)
    # PostgreSQL would be told that it may not ask for another user's process, and go on.
    with subprocess.Popen(command(Path("/bin/sleep"), "1h"), cwd="/") as other:
        try:
            name = Path(f"/proc/{other.pid}/comm")
            block_until(lambda: name.read_text() == "sleep\n")
            note(pid_file, other.pid)
            with postgres.running(tmp_path, durable=False) as running:
                execute(running.url, "DROP TABLE kept")
            assert other.poll() is None
        finally:
            other.kill()


def test_one_that_still_stops_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid_file = lose_power(tmp_path)
    command = ["sh", "-c", "read end", f"zart.folder={tmp_path.resolve()}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as stopping:
        # Just after it has begun to be another program it has no name yet.
        block_until(Path(f"/proc/{stopping.pid}/cmdline").read_bytes)
        note(pid_file, stopping.pid)
        with monkeypatch.context() as patched:
            patched.setattr(postgres, "_START", 0.1)
            with pytest.raises(postgres.PostgresError) as raised:  # noqa: SIM117 - what raises
                with postgres.running(tmp_path, durable=False):
                    pass
        assert f"a PostgreSQL (pid {stopping.pid}) still stops" in str(raised.value)
        assert "move" not in str(raised.value)
        stopping.communicate(b"\n")
    with postgres.running(tmp_path, durable=False) as running:
        execute(running.url, "DROP TABLE kept")


def test_one_that_nobody_knows_of_keeps_its_data(tmp_path: Path) -> None:
    """Whoever runs PostgreSQL on the folder by hand: its shared memory tells."""
    with postgres.running(tmp_path, durable=False) as running:
        pid_file = tmp_path / "data" / "postmaster.pid"
        noted = pid_file.read_text()
        (tmp_path / "lock").unlink()  # as if nobody had it
        with subprocess.Popen(["sleep", "1h"]) as other:
            try:
                note(pid_file, other.pid)
                with pytest.raises(postgres.PostgresError, match="end the PostgreSQL that has it"):  # noqa: SIM117 - likewise
                    with postgres.running(tmp_path, durable=False):
                        pass
            finally:
                other.kill()
                pid_file.write_text(noted)
        execute(running.url, "SELECT 1")
