"""Two PostgreSQL, one the synchronous replica of the other, by the script that operators have."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ports import free_port

from zart_server.embedded.programs import binaries
from zart_server.embedded.unprivileged import NOBODY

SCRIPT = Path(__file__).parents[2] / "deploy/failover.sh"
_DROP = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


@dataclass(frozen=True)
class Replicated:
    """Both of them; ``url`` names both to a server."""

    folder: Path
    ports: tuple[int, int]
    url: str = ""

    def run(self, command: str) -> str:
        """Run the script and return what it printed."""
        done = self._done(command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def refused(self, command: str) -> str:
        """Run the script, which refuses, and return what it said."""
        done = self._done(command)
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stderr.strip()

    def _done(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(SCRIPT), command, str(self.folder)],
            capture_output=True, text=True, check=False, timeout=300,
            env={
                **os.environ,
                "PGBIN": str(binaries()),
                "AS": " ".join(_DROP) if os.geteuid() == 0 else "",
                "SYNC": "--no-sync",
                "PORT_A": str(self.ports[0]),
                "PORT_B": str(self.ports[1]),
            },
        )  # fmt: skip

    def lose(self, name: str) -> None:
        """Have one of them end at once, as it does with its machine."""
        self._pg_ctl(name, "--mode=immediate", "stop")

    def start(self, name: str) -> None:
        """Start one of them again, as somebody does who does not know that the other one writes."""
        options = f"-p {self.port(name)} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        self._pg_ctl(name, f"--log={self.folder / name}.log", f"--options={options}", "start")

    def mark_as_replica(self, name: str) -> None:
        """Have one of them be a replica once it is started, as promote does first."""
        signal = self.folder / name / "standby.signal"
        signal.touch()
        if os.geteuid() == 0:
            os.chown(signal, NOBODY, NOBODY)

    def _pg_ctl(self, name: str, *words: str) -> None:
        drop = _DROP if os.geteuid() == 0 else ()
        command = [*drop, str(binaries() / "pg_ctl"), "-s", "-w", "-D", str(self.folder / name)]
        subprocess.run([*command, *words], cwd="/", check=True, timeout=300)

    def port(self, name: str) -> int:
        """Return where ``a`` or ``b`` listens."""
        return self.ports["ab".index(name)]

    def alone(self, *names: str) -> str:
        """Return the URL of one of them, or of both in this order, whichever writes."""
        hosts = ",".join(f"127.0.0.1:{self.port(name)}" for name in names)
        return f"postgresql://zart:{(self.folder / 'password').read_text()}@{hosts}/zart"

    def superuser(self, port: int) -> str:
        """Return the URL of the superuser of one of them."""
        password = (self.folder / "password").read_text()
        return f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"


@contextmanager
def replicated() -> Iterator[Replicated]:
    """Make both, and remove them at the end."""
    above = Path(tempfile.mkdtemp(prefix="zart-"))  # nobody may not pass through pytest's own
    above.chmod(0o755)
    folder = above / "pair"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    made = Replicated(folder, (free_port(), free_port()))
    try:
        yield Replicated(folder, made.ports, made.run("pair"))
    finally:
        made.run("stop")
        shutil.rmtree(above)
