"""A database with many executions, and transactions in it whose statements are explained."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from plans import MANY

from zart.testing.fixtures import database_url, execute
from zart_server.domain.commands import Caller
from zart_server.domain.model import StepSpec, TaskDefinition
from zart_server.engine.operations.register_task import register_task
from zart_server.store.db import Database

# Of the first half of the executions each fifth has one dead step, of the second half each second
# is queued, the others are held.
_LOAD = f"""
    INSERT INTO zart.executions (execution_id, task_name)
    SELECT 'x-' || n, 'many' FROM generate_series(1, {2 * MANY}) n;
    INSERT INTO zart.runs (execution_key, run_number, definition_key, status, "trigger",
        triggered_by, reason, dead_steps, completed_at)
    SELECT execution_key, 0, (SELECT definition_key FROM zart.task_names WHERE task_name = 'many'),
        CASE WHEN n > {MANY} THEN 'scheduled' WHEN n % 5 = 0 THEN 'failed' ELSE 'completed' END,
        'initial', '', '', (n <= {MANY} AND n % 5 = 0)::int,
        CASE WHEN n <= {MANY} THEN now() END
    FROM (SELECT execution_key, row_number() OVER (ORDER BY execution_key) n
          FROM zart.executions) e;
    INSERT INTO zart.steps (run_key, step_no, status, pending_deps, completed_at)
    SELECT run_key, s, CASE WHEN r.completed_at IS NULL THEN 'open' WHEN s = 1 AND dead_steps > 0
        THEN 'dead' ELSE 'completed' END, s, r.completed_at
    FROM zart.runs r, generate_series(0, 1) s;
    INSERT INTO zart.queue (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, queue_no, not_before, scheduled_at, step_name)
    SELECT run_key, 0, (SELECT lane FROM zart.lanes WHERE handler = 'a'), 1, 0, 0, 3, 600, run_key,
        now(), now(), 'a'
    FROM zart.runs WHERE completed_at IS NULL AND run_key % 2 = 0;
    INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, queue_no, not_before, scheduled_at, step_name, rule_key)
    SELECT run_key, 0, (SELECT lane FROM zart.lanes WHERE handler = 'a'), 1, 0, 0, 3, 600, run_key,
        now(), now(), 'a', 1
    FROM zart.runs WHERE completed_at IS NULL AND run_key % 2 = 1;
    INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, queue_no, not_before, scheduled_at, lease_token, started_at,
        lease_expires_at, lease_seconds, step_name, dispatcher_id, principal)
    SELECT -n, 0, (SELECT lane FROM zart.lanes WHERE handler = 'b'), 1, 0, 0, 3, 600, n, now(),
        now(), n, now(), now(), 30, 'b', 'd', ''
    FROM generate_series(1, 2000) n;
    INSERT INTO zart.operations (kind, execution_id, triggered_by, reason, request_id)
    SELECT 'start', execution_id, '', '', '' FROM zart.executions;
    INSERT INTO zart.requests (caller, rpc, request_id, fingerprint)
    SELECT '', 'Restart', n::text, '' FROM generate_series(1, {MANY}) n;
"""
# Autovacuum comes when it likes: until then PostgreSQL knows nothing of what the tables hold.
_UNKNOWN = """
    DO $$ DECLARE t regclass; BEGIN
        FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'zart'::regnamespace AND relkind = 'r'
        LOOP EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', t); END LOOP;
    END $$
"""


@pytest.fixture(scope="session", params=["analyzed", "unknown"])
def many(zart_postgres: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database with many executions."""
    other = database_url(zart_postgres, "zart")
    name = f"many_{request.param}"
    execute(other, f"CREATE DATABASE {name} TEMPLATE template STRATEGY wal_log")
    url = database_url(zart_postgres, name)
    asyncio.run(_fill(url, is_analyzed=request.param == "analyzed"))
    yield url
    execute(other, f"DROP DATABASE {name} WITH (FORCE)")


async def _fill(url: str, *, is_analyzed: bool) -> None:
    db = await Database.open(url)
    steps = (StepSpec("a", (), "a"), StepSpec("b", ("a",), "b"))
    async with db.transaction() as tx:
        await register_task(tx, TaskDefinition("many", 0, steps), Caller())
    await db.close()
    connection = await asyncpg.connect(url)
    try:
        if not is_analyzed:
            await connection.execute(_UNKNOWN)
        for statement in filter(str.strip, _LOAD.split(";\n")):
            await connection.execute(statement)
        if is_analyzed:
            await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


@pytest.fixture
async def store(zart_database: str) -> AsyncIterator[Database]:
    """A database without a server."""
    opened = await Database.open(zart_database)
    yield opened
    await opened.close()
