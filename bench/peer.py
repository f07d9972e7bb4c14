"""Runs the peers: programs of their own, each told what to measure."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.product import ROOT
from bench.series import p50_p99
from zart_server.embedded import postgres

PYTHON = ROOT / "build" / "bench-peers" / "bin" / "python"
ZART = ROOT / "build" / "bench-zart" / "release" / "zart-peer"
_RESTATE = ROOT / "build" / "bench-restate" / "node_modules" / "@restatedev"
_PROGRAMS = ROOT / "bench" / "peers"
_LIMIT = 120  # seconds

_VERSIONS = """
import json
from importlib.metadata import version
names = ("absurd-sdk", "dbos", "pgqueuer", "restate-sdk", "granian")
print(json.dumps({name: version(name) for name in names}))
"""


@dataclass(frozen=True)
class Peer:
    """A peer, and what its program can measure: one in Python, or one that was built."""

    name: str
    program: str | Path
    measures: frozenset[str] = frozenset({"drain", "latency", "start", "restart"})
    on_postgres: bool = True

    @property
    def is_there(self) -> bool:
        """Whether all that it needs is installed."""
        if isinstance(self.program, Path):
            return self.program.exists()
        return PYTHON.exists() and (self.on_postgres or _restate_server() is not None)

    @property
    def command(self) -> list[str]:
        """How its program is called."""
        if isinstance(self.program, Path):
            return [str(self.program)]
        return [str(PYTHON), str(_PROGRAMS / self.program)]


RESTATE = Peer("Restate", "restate_peer.py", on_postgres=False)
ABSURD = Peer("absurd", "absurd_peer.py")
DBOS = Peer("DBOS", "dbos_peer.py")
ZART_ITSELF = Peer("Zart itself (in Rust)", ZART)
PGQUEUER = Peer("pgqueuer (queue only)", "pgqueuer_peer.py", frozenset({"drain", "start"}))
PEERS = (RESTATE, ABSURD, DBOS, ZART_ITSELF, PGQUEUER)


def installed(what: str) -> list[Peer]:
    """Return the peers that are there and can measure it."""
    return [peer for peer in PEERS if what in peer.measures and peer.is_there]


@cache
def _restate_server() -> Path | None:
    return next(_RESTATE.glob("restate-server-*/bin/restate-server"), None)


async def measured(peer: Peer, what: str, count: int) -> dict[str, float]:
    """Let a peer measure something, on an empty PostgreSQL of its own where it uses one."""
    with contextlib.ExitStack() as stack:
        command = [*peer.command, what, "--count", str(count)]
        if peer.on_postgres:
            command += ["--url", stack.enter_context(_database())]
        else:
            command += ["--binary", str(_restate_server())]
        found = await _said(command)
    latencies = found.pop("latencies_ms", None)
    return {**found, **(p50_p99(latencies) if latencies else {})}


async def versions() -> dict[str, str]:
    """Return the peers' versions."""
    found: dict[str, str] = {}
    if ZART_ITSELF.is_there:
        manifest = tomllib.loads((_PROGRAMS / "zart" / "Cargo.toml").read_text())
        found["zart (crate)"] = manifest["dependencies"]["zart"].removeprefix("=")
    if not PYTHON.exists():
        return found
    found |= await _said([str(PYTHON), "-c", _VERSIONS])
    package = _RESTATE / "restate-server" / "package.json"
    if package.exists():
        found["restate-server"] = json.loads(package.read_text())["version"]
    return found


@contextlib.contextmanager
def _database() -> Iterator[str]:
    with (
        tempfile.TemporaryDirectory(prefix="zart-bench-", ignore_cleanup_errors=True) as folder,
        postgres.running(Path(folder) / "postgres", attributes=["SUPERUSER"]) as database,
    ):
        yield database.url


async def _said(command: list[str]) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = await asyncio.wait_for(process.communicate(), _LIMIT)
    except TimeoutError:
        raise RuntimeError(f"no answer in {_LIMIT} s: {command}") from None
    finally:
        with contextlib.suppress(ProcessLookupError):  # nothing that it started outlives it
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    lines = output.decode().splitlines()
    if process.returncode != 0 or not lines:
        raise RuntimeError(f"{command[:2]} failed: {errors.decode()[-2000:]}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found
