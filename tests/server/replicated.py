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


@dataclass(frozen=True)
class Replicated:
    """Both of them; ``url`` names both to a server."""

    folder: Path
    ports: tuple[int, int]
    url: str = ""

    def run(self, command: str) -> str:
        """Run the script and return what it printed."""
        drop = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups"
        done = subprocess.run(
            [str(SCRIPT), command, str(self.folder)],
            capture_output=True, text=True, check=False, timeout=300,
            env={
                **os.environ,
                "PGBIN": str(binaries()),
                "AS": drop if os.geteuid() == 0 else "",
                "SYNC": "--no-sync",
                "PORT_A": str(self.ports[0]),
                "PORT_B": str(self.ports[1]),
            },
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

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
