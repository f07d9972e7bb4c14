"""What may be large is compressed by lz4 where PostgreSQL has it, and comes back as it was."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest
from rig import CHAIN, Rig
from store import system_postgres

import zart
from zart.testing.server import serving

# What callers send and are answered.
LARGE = {
    "batches.operation", "definitions.steps", "in_doubt.late_result", "requests.response",
    "runs.payload", "step_inputs.input", "steps.result",
}  # fmt: skip
# What the server writes itself, and errors, of which it keeps the beginning.
SMALL = {
    "attempts.error", "batch_items.refusal", "batches.prepared_until", "batches.selection",
    "breakers.last_error", "definitions.content_hash", "in_doubt.late_error", "operations.made",
    "operations.replaced", "operation_attempts.refusal", "purge_records.caller",
    "requests.fingerprint", "retention_passes.come_to", "steps.error",
}  # fmt: skip
_COLUMNS = """
    SELECT c.relname || '.' || a.attname AS name, a.attcompression = 'l' AS is_lz4
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'zart'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
        AND a.atttypid IN ('json'::regtype, 'jsonb'::regtype, 'bytea'::regtype)
"""
_PAYLOAD = secrets.token_hex(2**19 - 1)  # a mebibyte with its quotes
_ROWS = ["".join(["user ", str(n), "@example.org"]) for n in range(30_000)]


@pytest.fixture
async def with_lz4(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """A server on a PostgreSQL that has lz4."""
    programs = system_postgres.programs()
    if programs is None:
        pytest.skip("the system has no PostgreSQL")
    folder = tmp_path_factory.mktemp("system")
    with system_postgres.running(folder, programs) as url, serving(url) as server:
        db = await asyncpg.connect(url)
        async with zart.connect(server.address) as client:
            yield Rig(client, db)
        await db.close()


async def columns(db: asyncpg.Connection[asyncpg.Record]) -> dict[str, bool]:
    """Return what may be large, and whether it is compressed by lz4."""
    return {row["name"]: row["is_lz4"] for row in await db.fetch(_COLUMNS)}


async def test_what_may_be_large_is_compressed_by_lz4(with_lz4: Rig) -> None:
    rig = with_lz4
    found = await columns(rig.db)
    assert {name for name, is_lz4 in found.items() if is_lz4} == LARGE
    assert found.keys() - LARGE == SMALL

    await rig.start("random", CHAIN, payload=_PAYLOAD)
    await rig.start("rows", CHAIN, payload=_ROWS)
    for task in await rig.lease():
        await rig.complete(task, result=_ROWS if task.execution_id == "rows" else _PAYLOAD)
    await rig.client.restart("rows", request_id="once")

    for name, expected in (("random", _PAYLOAD), ("rows", _ROWS)):
        state = await rig.client.get_execution(name, run_number=0)
        assert state.run.payload == expected
        assert (await rig.client.get_step(name, "a", run_number=0)).result == expected
    stored = await rig.db.fetch(
        "SELECT DISTINCT pg_column_compression(payload), pg_column_compression(result)"
        " FROM zart.runs JOIN zart.steps USING (run_key) WHERE result IS NOT NULL"
    )
    assert {tuple(row) for row in stored} == {("lz4", "lz4"), (None, None)}  # random: as it is


async def test_a_postgresql_without_lz4_keeps_its_own(rig: Rig) -> None:
    await rig.start("x", CHAIN, payload=_PAYLOAD)
    assert not any((await columns(rig.db)).values())
    assert (await rig.client.get_execution("x")).run.payload == _PAYLOAD
