"""The type checker refuses what needs an open transaction where there is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mypy import api

ROOT = Path(__file__).parents[2]
# Comments say which type mypy is to ask for.
SNIPPET = """
from zart_server.engine.dispatch.enqueue import enqueue
from zart_server.engine.dispatch.lease import lease_tasks
from zart_server.engine.dispatch.low_water import LowWater
from zart_server.domain.dispatch import LeaseTasks
from zart_server.store.connection import Autocommit, Connection, Tx
from zart_server.store.db import Database
from zart_server.store.end_leases import end_and_enqueue
from zart_server.store.enqueue import ReadyRows
from zart_server.store.leases import recorded_leases
from zart_server.store.pausing.lock import seize_pause_lock
from zart_server.store.pausing.rules import share_pause_lock

async def of_a_connection(connection: Connection) -> None:
    await recorded_leases(connection, [])
    await enqueue(connection, [])  # expected "Tx"
    await share_pause_lock(connection)  # expected "Tx"
    await seize_pause_lock(connection, 1.0)  # expected "Autocommit"

async def of_a_look(db: Database, wanted: LeaseTasks, rows: ReadyRows) -> None:
    async with db.autocommit() as connection:
        await recorded_leases(connection, [])
        await end_and_enqueue(connection, [], [], rows)
        await enqueue(connection, [])  # expected "Tx"
        await share_pause_lock(connection)  # expected "Tx"
        await lease_tasks(connection, wanted, LowWater())  # expected "Tx"

async def of_a_transaction(db: Database, wanted: LeaseTasks, rows: ReadyRows) -> None:
    async with db.transaction() as tx:
        await recorded_leases(tx, [])
        await lease_tasks(tx, wanted, LowWater())
        await share_pause_lock(tx)
        await enqueue(tx, [])
        await seize_pause_lock(tx, 1.0)  # expected "Autocommit"
        await end_and_enqueue(tx, [], [], rows)  # expected "Autocommit"
    async with db.autocommit() as connection:
        await enqueue(await connection.begin(), [])
"""


def test_what_needs_a_transaction_is_refused_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET)
    out, errors, _ = api.run(
        ["--config-file", "pyproject.toml", "--follow-imports", "silent", str(snippet)]
    )

    told = dict(re.findall(r"snippet\.py:(\d+): error: .* (expected \"\w+\")", out))
    expected = re.findall(r"(expected \"\w+\")$", SNIPPET, re.MULTILINE)
    lines = [str(n) for n, line in enumerate(SNIPPET.split("\n"), 1) if "# expected" in line]
    assert told == dict(zip(lines, expected, strict=True)), out + errors
    assert out.count("error:") == len(expected), out
