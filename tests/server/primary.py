"""A PostgreSQL whose commits may wait for a standby."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from rig import eventually

from zart_server.embedded.postgres import Postgres

_WRITE = "SELECT pg_logical_emit_message(true, 'test', '')"
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@dataclass
class Primary:
    """A PostgreSQL of its own, whose commits may wait for a standby that does not exist."""

    folder: Path
    postgres: Postgres

    def wait_for(self, standbys: str) -> None:
        """Have commits wait for these standbys from soon on."""
        setting = self.folder / "data/postgresql.auto.conf"
        setting.write_text(f"synchronous_standby_names = '{standbys}'\n")
        self.postgres.process.send_signal(signal.SIGHUP)

    @contextlib.asynccontextmanager
    async def without_standby(self) -> AsyncIterator[None]:
        """Have each commit wait, until the context is left."""
        look = await asyncpg.connect(self.postgres.url)
        probe = await asyncpg.connect(self.postgres.url)
        try:
            await probe.execute("SET synchronous_commit = on")
            self.wait_for("nobody")
            writing = asyncio.create_task(_write_on(probe))
            await eventually(lambda: look.fetchval(WAITS))
            writing.cancel()
            await asyncio.wait([writing])
            yield
        finally:
            self.wait_for("")
            probe.terminate()
            look.terminate()


async def _write_on(probe: asyncpg.Connection[asyncpg.Record]) -> None:
    while True:
        await probe.execute(_WRITE)
