"""A PostgreSQL of the system's, as Debian packages it: built with what the embedded one lacks."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ports import free_port
from waiting import GIVE_UP, block_until

from zart_server.embedded.programs import command, environment, hand_over, passage


def programs() -> Path | None:
    """Return the folder of the newest one's programs, if there is any."""
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(found, key=lambda path: int(path.parts[-3]), default=None)
    return None if newest is None else newest.parent


@contextlib.contextmanager
def running(folder: Path, bin_: Path) -> Iterator[str]:
    """Run it on loopback without durability, as nobody where root asks; the URL of its database."""
    data, port = folder / "data", free_port()
    data.mkdir(mode=0o700)
    hand_over(data)

    with passage(data) as (name, descriptor), (folder / "log").open("wb") as log:
        subprocess.run(
            command(
                bin_ / "initdb", f"--pgdata={name}", "--username=zart", "--auth=trust",
                "--encoding=UTF8", "--no-sync",
            ),
            env=environment(), cwd="/", check=True, stdout=log, stderr=log, pass_fds=[descriptor],
        )  # fmt: skip
        server = subprocess.Popen(
            command(
                bin_ / "postgres", "-D", name, "-p", str(port), "-c", "listen_addresses=127.0.0.1",
                "-c", "unix_socket_directories=", "-c", "fsync=off",
                "-c", "track_commit_timestamp=on",
            ),
            env=environment(), cwd="/", stdout=log, stderr=log, pass_fds=[descriptor],
        )  # fmt: skip
        try:
            ready = [str(bin_ / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
            block_until(lambda: subprocess.run(ready, check=False).returncode == 0)
            yield f"postgresql://zart@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # whoever is connected
            server.wait(GIVE_UP)
