"""A server that is told to stop while it still prepares the database, which may last for hours, does."""

from __future__ import annotations

import signal
from pathlib import Path

import asyncpg
import pytest
from acceptance.serve_process import ServeProcess
from store.test_migrating_in_use import _STEP_BACK as STEP_BACK
from waiting import until

VERSION = "SELECT version_num FROM zart.alembic_version"


@pytest.mark.parametrize(
    ("number", "processes"), [(signal.SIGTERM, 1), (signal.SIGINT, 1), (signal.SIGTERM, 2)]
)
async def test_it_ends_while_a_migration_waits(
    zart_database: str,
    db: asyncpg.Connection[asyncpg.Record],
    tmp_path: Path,
    number: signal.Signals,
    processes: int,
) -> None:
    await db.execute(STEP_BACK)
    stepped = await db.fetchval(VERSION)
    log = tmp_path / "log"
    server = ServeProcess(zart_database, log, ZART_PROCESSES=str(processes))
    report = await asyncpg.connect(zart_database)
    try:
        await report.execute("BEGIN")
        await report.fetch("SELECT * FROM zart.error_groups")
        server.start()
        await until(lambda: "once these have ended" in log.read_text())
        assert server.stop(number) == 0  # while the report still has its lock
        assert "it had not begun to serve" in log.read_text()
        assert "Traceback" not in log.read_text()
        await report.execute("COMMIT")
    finally:
        if server.is_running:
            server.stop(signal.SIGKILL)
        await report.close()
    # And the database is as it was.
    assert await db.fetchval(VERSION) == stepped
