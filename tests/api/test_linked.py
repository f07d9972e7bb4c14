"""A call that is done is answered, whether or not it can be linked to its execution's trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

import asyncpg
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from zart.v1 import execution_service_pb2 as pb
from zart_server.api.mutations.linked import link_to_execution
from zart_server.store.db import Database

Sql: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
REQUEST = pb.CancelExecutionRequest(execution_id="x")


@pytest.fixture
async def opened(zart_database: str) -> AsyncIterator[Database]:
    """The database, as a server opens it that waits long for a connection."""
    database = await Database.open(zart_database, pool_size=1, acquire_timeout=300.0)
    yield database
    await database.close()


async def linked(database: Database) -> None:
    """Link a call that is traced."""
    tracer = TracerProvider().get_tracer("tests")
    with trace.use_span(tracer.start_span("call"), end_on_exit=True):
        await link_to_execution(database, REQUEST)


async def test_a_call_waits_no_longer_than_a_moment_for_its_link(
    opened: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened.autocommit(), asyncio.timeout(60):
        await linked(opened)
    assert "not linked to its execution's trace: TimeoutError" in caplog.text


async def test_a_defect_costs_the_link_only(
    db: Sql, opened: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await db.execute("ALTER TABLE zart.executions RENAME TO elsewhere")
    await linked(opened)
    assert "not linked to its execution's trace" in caplog.text
