"""What somebody is to look after is told however little it is, beside however much of others."""

from __future__ import annotations

import asyncio
from typing import TypeAlias

import asyncpg

from zart_server.metrics.reading import DatabaseReader
from zart_server.store.db import Database
from zart_server.store.reads.backlog import read_parts
from zart_server.store.reads.standing import count_in_doubt

Sql: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
FEW = 30


async def test_each_task_with_a_dead_step_is_told(db: Sql, opened: Database) -> None:
    """One of a thousand dead steps is of a run that is told of, each of another task."""
    await db.execute(
        """
        INSERT INTO zart.runs (execution_key, run_number, definition_key, status, "trigger",
            triggered_by, reason, completed_at, dead_steps, dead_listed, listed_task)
        SELECT n, 0, 0, 'failed', 'initial', '', '', now(), 1, 1, 't' || n
        FROM generate_series(1, $1) n
        """,
        FEW,
    )
    await db.execute(
        """
        INSERT INTO zart.dead_steps (run_key, step_no, execution_key, listed_at, died_at)
        SELECT COALESCE(r.run_key, -n), 0, 0, now(), now()
        FROM generate_series(1, 1000 * $1) n
        LEFT JOIN zart.runs r ON n % 1000 = 0 AND r.execution_key = n / 1000
        ORDER BY n
        """,
        FEW,
    )
    async with opened.autocommit() as connection:
        assert (await read_parts(connection)).dead_steps < 0.5
    found = await DatabaseReader(opened, asyncio.get_running_loop())._read()
    assert {each.task_name for each in found.dead} == {f"t{n}" for n in range(1, FEW + 1)}
    assert all(each.steps >= 1 and each.failed_runs >= 1 for each in found.dead)


async def test_each_rule_that_has_paused_a_step_is_told(db: Sql, opened: Database) -> None:
    """One of two thousand paused steps is of a rule that stands, each of another one."""
    rows = await db.fetch(
        "INSERT INTO zart.pause_rules (rule_id, everything, reason, created_by)"
        " SELECT 'pr-' || n, true, '', '' FROM generate_series(0, $1) n RETURNING rule_key",
        FEW,
    )
    idle, *busy = (row[0] for row in rows)
    await db.execute(
        """
        INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, queue_no, not_before, scheduled_at, step_name, rule_key)
        SELECT n, 0, 0, 1, 0, 0, 3, 60, n, now(), now(), 'step',
            CASE WHEN n % 2000 = 0 THEN ($1::bigint[])[n / 2000] ELSE 0 END
        FROM generate_series(1, 2000 * cardinality($1::bigint[])) n
        """,
        busy,
    )
    async with opened.autocommit() as connection:
        assert (await read_parts(connection)).held < 0.5
    by_rule = (await DatabaseReader(opened, asyncio.get_running_loop())._read()).paused.by_rule
    assert by_rule.keys() - {0} == set(busy)
    assert idle not in by_rule
    assert all(by_rule[key] >= 1 for key in busy)


async def test_each_task_with_an_attempt_in_doubt_is_told(db: Sql, opened: Database) -> None:
    """Ten thousand are counted: the one of the last task is beyond them, by whatever index."""
    await db.execute(
        """
        INSERT INTO zart.in_doubt (run_key, step_no, attempt, execution_id, task_name, run_number,
            step_name, ended_as, swept, dispatcher_id, principal, lease_token, started_at)
        SELECT n, 0, 1, 'x-' || 100000 + n, CASE WHEN n <= 10500 THEN 'many' ELSE 'one' END, 0, 'a', 'lost',
            true, 'd', '', n, now()
        FROM generate_series(1, 10501) n ORDER BY n
        """
    )
    async with opened.autocommit() as connection:
        assert await count_in_doubt(connection) == {"many": 10_000, "one": 1}
        await db.execute(
            "UPDATE zart.in_doubt SET resolved_at = now(), resolved_by = 1 WHERE run_key > 7"
        )
        assert await count_in_doubt(connection) == {"many": 7}
        await db.execute(
            "UPDATE zart.in_doubt SET resolved_at = now(), resolved_by = 1 WHERE run_key <= 7"
        )
        assert await count_in_doubt(connection) == {}
