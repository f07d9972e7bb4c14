"""Runs the peers: programs in an environment of their own, each told what to measure."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.product import ROOT
from bench.series import p50_p99
from zart_server.embedded import postgres

PYTHON = ROOT / "build" / "bench-peers" / "bin" / "python"
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
    """A peer, and what its program can measure."""

    name: str
    program: str
    measures: frozenset[str]
    on_postgres: bool = True


RESTATE = Peer(
    "Restate",
    "restate_peer.py",
    frozenset({"drain", "latency", "start", "restart"}),
    on_postgres=False,
)
ABSURD = Peer("absurd", "absurd_peer.py", frozenset({"drain", "latency", "start", "restart"}))
DBOS = Peer("DBOS", "dbos_peer.py", frozenset({"drain", "latency", "start", "restart"}))
PGQUEUER = Peer("pgqueuer (queue only)", "pgqueuer_peer.py", frozenset({"drain", "start"}))
PEERS = (RESTATE, ABSURD, DBOS, PGQUEUER)


def installed(what: str) -> list[Peer]:
    """Return the peers that are there and can measure it."""
    if not PYTHON.exists():
        return []
    return [
        peer
        for peer in PEERS
        if what in peer.measures and (peer.on_postgres or _restate_server() is not None)
    ]


@cache
def _restate_server() -> Path | None:
    return next(_RESTATE.glob("restate-server-*/bin/restate-server"), None)


async def measured(peer: Peer, what: str, count: int) -> dict[str, float]:
    """Let a peer measure something, on an empty PostgreSQL of its own where it uses one."""
    with contextlib.ExitStack() as stack:
        arguments = [str(_PROGRAMS / peer.program), what, "--count", str(count)]
        if peer.on_postgres:
            arguments += ["--url", stack.enter_context(_database())]
        else:
            arguments += ["--binary", str(_restate_server())]
        found = await _said(arguments)
    latencies = found.pop("latencies_ms", None)
    return {**found, **(p50_p99(latencies) if latencies else {})}


async def versions() -> dict[str, str]:
    """Return the peers' versions."""
    if not PYTHON.exists():
        return {}
    found = dict(await _said(["-c", _VERSIONS]))
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


async def _said(arguments: list[str]) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        str(PYTHON), *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        output, errors = await asyncio.wait_for(process.communicate(), _LIMIT)
    except TimeoutError:
        raise RuntimeError(f"no answer in {_LIMIT} s: {arguments}") from None
    finally:
        with contextlib.suppress(ProcessLookupError):  # nothing that it started outlives it
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    lines = output.decode().splitlines()
    if process.returncode != 0 or not lines:
        raise RuntimeError(f"{arguments[:2]} failed: {errors.decode()[-2000:]}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found
