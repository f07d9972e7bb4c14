"""Finds the server that is at work on something, to kill it while it is."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TypeAlias

import asyncpg

from bench.product import Process, Product

_GIVE_UP = 10.0  # seconds

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def server_at_work(made: Product, db: Connection, words: str) -> Process | None:
    """Find the server whose session runs a statement with these words; None: none does."""
    until = time.monotonic() + _GIVE_UP
    while time.monotonic() < until:
        ports = await db.fetch(
            "SELECT client_port FROM pg_stat_activity"
            " WHERE query LIKE '%' || $1 || '%' AND state <> 'idle' AND pid <> pg_backend_pid()",
            words,
        )
        for (port,) in ports:
            for server in made.servers:
                if port and _has_port(server.popen.pid, port):
                    return server
        await asyncio.sleep(0.002)  # it is seen only while it does so
    return None


def _has_port(pid: int, port: int) -> bool:
    """Return whether a process has the connection of a local port."""
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    sockets = {
        f"socket:[{words[9]}]"
        for line in lines
        if (words := line.split())[1].endswith(f":{port:04X}")
    }
    return any(
        str(one.readlink()) in sockets
        for one in Path(f"/proc/{pid}/fd").iterdir()
        if one.is_symlink()
    )
