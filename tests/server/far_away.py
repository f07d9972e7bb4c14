"""A PostgreSQL and a zart server in a network of their own; prints how they are reached.

Run as a program by ``lost_packets.py``; ends when its input does.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from zart.testing.server import serving
from zart_server.embedded.postgres import running

HERE, THERE = "192.0.2.1", "192.0.2.2"  # of those for documents: nobody has them


def main() -> None:
    """Serve until nobody needs it any more."""
    sys.stdin.readline()  # there is a network
    with ExitStack() as stack:
        access = Path(stack.enter_context(TemporaryDirectory())) / "pg_hba.conf"
        access.write_text("host all all all scram-sha-256\n")
        for path in (access, access.parent):  # PostgreSQL is another user's
            path.chmod(0o755)
        settings = [f"listen_addresses=127.0.0.1,{THERE}", f"hba_file={access}"]
        folder = Path(sys.argv[1])
        postgres = stack.enter_context(running(folder, durable=False, settings=settings))
        server = stack.enter_context(serving(postgres.url, listen=f"{THERE}:0", insecure=True))
        said = {"database": postgres.url, "server": server.address}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
